import { chownSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Cluster } from '../../cli/demo/cluster.js';
import { readSsl, readSslFiles } from '../../db/ssl.js';
import type { ServerTls } from '../../proxy/dial.js';
import type { TestCertificate } from './certificates.js';

/** Switches TLS on in a server that runs; with `clientCa` it asks clients for certificates. */
export async function secureCluster(
  cluster: Cluster,
  { cert, key }: TestCertificate,
  clientCa?: TestCertificate,
): Promise<void> {
  const { uid, gid } = statSync(cluster.dataDir);
  const put = (name: string, text: string) => {
    const path = join(cluster.dataDir, name);
    writeFileSync(path, text, { mode: 0o600 });
    chownSync(path, uid, gid);
  };
  put('server.crt', cert);
  put('server.key', key);
  if (clientCa) put('root.crt', clientCa.cert);
  const control = await cluster.client();
  await control.query('ALTER SYSTEM SET ssl = on');
  if (clientCa) await control.query("ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
  await control.query('SELECT pg_reload_conf()');
  await control.end();
  // The postmaster reads it in its own time; a session that begins later shows what it has.
  for (let left = 200; ; left--) {
    const probe = await cluster.client();
    const { rows } = await probe.query('SHOW ssl');
    await probe.end();
    if (rows[0].ssl === 'on') return;
    if (left === 0) throw new Error(`ssl is not on: ${cluster.output.slice(-500)}`);
  }
}

/** TLS towards a server as the query of a connection string says it. */
export function serverTls(query: string): ServerTls {
  const ssl = readSsl(new URLSearchParams(query));
  const { mode, direct, sni } = ssl;
  if (mode === 'disable') throw new Error('no TLS');
  return { mode, direct, sni, context: createSecureContext(readSslFiles(ssl)) };
}
