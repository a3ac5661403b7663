import { setMaxListeners } from 'node:events';

/** A signal that follows two others, until it is released. */
export interface Either {
  readonly signal: AbortSignal;
  /** It follows them no more, and they know nothing of it any more. */
  release(): void;
}

/**
 * As `AbortSignal.any`, for a signal that lives as long as the process: of that one Node keeps something for every
 * signal that was ever made of it, which is one for each connection (nodejs/node#54614, #55351, #64476).
 */
export function either(one: AbortSignal, other: AbortSignal): Either {
  const controller = new AbortController();
  const both = [one, other];
  const abort = () => {
    release();
    controller.abort();
  };
  const release = () => {
    for (const each of both) each.removeEventListener('abort', abort);
  };
  // A hundred connections that are being made are no leak, of which Node would warn from eleven on.
  setMaxListeners(0, ...both);
  if (both.some(({ aborted }) => aborted)) controller.abort();
  else for (const each of both) each.addEventListener('abort', abort);
  return { signal: controller.signal, release };
}
