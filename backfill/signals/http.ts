import type { Probe } from './source.js';

const TIMEOUT_MS = 1_000;

/** A service that is asked with GET and answers 200 when it may go on, as freno's checks do. */
export const http = (): Probe<number> => ({
  name: 'http',
  level: 'hard',
  wanted: (settings) => settings.url !== null,
  key: (settings) => settings.url ?? '',
  async ask({ url }) {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    let response: Response;
    try {
      response = await fetch(url!, { redirect: 'manual', signal });
    } catch (error) {
      // fetch says only that it failed; what failed is its cause.
      const { cause } = error as { cause?: unknown };
      throw cause instanceof Error ? new Error(cause.message || String(cause)) : error;
    }
    await response.body?.cancel();
    return response.status;
  },
  judge(status, { url }) {
    const { origin, pathname } = new URL(url!);
    const detail = `${origin}${pathname} answers ${status}, not 200`;
    return [{ subject: origin, observed: status === 200 ? 0 : 1, threshold: 0, detail }];
  },
});
