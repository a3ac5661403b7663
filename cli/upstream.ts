import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import { readSsl, readSslFiles, SslError, type SslSettings } from '../db/ssl.js';
import { UserError } from '../migration/errors.js';
import type { Upstream } from '../proxy/dial.js';

/**
 * The server's address in a control connection string, and how to speak TLS with it, for the relay.
 * @throws UserError when it is not one, or its TLS parameters cannot be followed.
 */
export function upstreamOf(url: string): Upstream {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new UserError(
      `--upstream "${url}" is not a connection string.`,
      'Write it as postgres://user@host:port/database.',
    );
  }
  const port = parsed.port === '' ? 5432 : Number(parsed.port);
  const socket = parsed.searchParams.get('host') ?? decodeURIComponent(parsed.hostname);
  if (socket.startsWith('/')) return { path: `${socket}/.s.PGSQL.${port}` };
  const host = socket.replace(/^\[|\]$/g, '') || '127.0.0.1';
  const ssl = told(() => readSsl(parsed.searchParams));
  const { mode, direct, sni } = ssl;
  if (mode === 'disable') return { host, port };
  return { host, port, tls: { mode, direct, sni, context: contextOf(ssl) } };
}

/**
 * Reads the files of its TLS parameters again, for connections to come.
 * @throws UserError, and nothing is changed.
 */
export function reloadUpstream(upstream: Upstream, url: string): void {
  if ('path' in upstream || !upstream.tls) return;
  upstream.tls.context = contextOf(told(() => readSsl(new URL(url).searchParams)));
}

function contextOf(ssl: SslSettings): SecureContext {
  const files = told(() => readSslFiles(ssl));
  try {
    // OpenSSL takes a file without a certificate for an authority that has signed nothing.
    if (typeof files.ca === 'string') new X509Certificate(files.ca);
    return createSecureContext({ ...files, minVersion: 'TLSv1.2' });
  } catch (error) {
    const names = [ssl.rootCert, ssl.cert, ssl.key].filter(Boolean).join(', ');
    throw new UserError(
      `The files of --upstream's TLS cannot be used (${names}): ${(error as Error).message}`,
      'They are to be PEM, the key without a passphrase and of the first certificate in its file.',
    );
  }
}

function told<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof SslError) throw new UserError(`--upstream: ${error.message}`, error.hint);
    throw error;
  }
}
