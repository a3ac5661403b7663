import { UserError } from '../migration/errors.js';

/**
 * The server's address in a control connection string, for the relay.
 * @throws UserError when it is not one, or asks for TLS, which the relay does not do yet.
 */
export function upstreamOf(url: string): { host: string; port: number } | { path: string } {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new UserError(
      `--upstream "${url}" is not a connection string.`,
      'Write it as postgres://user@host:port/database.',
    );
  }
  const mode = parsed.searchParams.get('sslmode');
  if (mode !== null && !['disable', 'allow', 'prefer'].includes(mode)) {
    throw new UserError(
      `--upstream asks for sslmode=${mode}; the relay speaks to the server without TLS.`,
      'Run the proxy beside the server (loopback or a private network) without sslmode.',
    );
  }
  const port = parsed.port === '' ? 5432 : Number(parsed.port);
  const socket = parsed.searchParams.get('host') ?? decodeURIComponent(parsed.hostname);
  if (socket.startsWith('/')) return { path: `${socket}/.s.PGSQL.${port}` };
  return { host: socket.replace(/^\[|\]$/g, '') || '127.0.0.1', port };
}
