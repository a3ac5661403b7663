import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { VerifierReader } from '../../cli/scram.js';
import type { ServerTls } from '../../proxy/dial.js';
import type { ScramOptions } from '../../proxy/login.js';
import type { ClientTls } from '../../proxy/tls.js';
import { makeCertificate, type TestCertificate } from './certificates.js';
import { type Bench, front, RawClient } from './harness.js';
import { secureCluster, serverTls } from './secure.js';
import { error, startupPacket } from './wire.js';

t.setTimeout(120_000);

const folder = mkdtempSync(join(tmpdir(), 'pgtandem-scram-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const ca = makeCertificate({ name: 'test authority' });
const hosts = ['localhost', '127.0.0.1'];
// Two hashes: whoever binds to the wrong certificate, or by the wrong hash, is found out.
const server = makeCertificate({ name: 'server', hosts, issuer: ca, hash: 'sha384' });
const own = makeCertificate({ name: 'proxy', hosts, issuer: ca });
const root = join(folder, 'ca.pem');
writeFileSync(root, ca.cert);
const shows = ({ cert, key }: TestCertificate): ClientTls => ({
  cert,
  key,
  clientCert: 'none',
  required: false,
});

const HBA = ['postgres trust', 'md5 md5', 'all scram-sha-256']
  .map((line) => line.split(' '))
  .map(([user, method]) => `host all ${user} 127.0.0.1/32 ${method}`)
  .join('\n');

/** Psql is of the machine, if it is there. */
const psql = spawnSync('psql', ['--version']).status === 0;

interface Attempt {
  user?: string;
  password?: string;
  tls?: boolean;
  /** Of libpq: disable, prefer or require. Of `pg`: with or without. */
  binding?: 'disable' | 'prefer' | 'require';
}

/** Logs in through `pg`; `in`, or the error. */
async function byDriver(b: Bench, attempt: Attempt): Promise<string> {
  const client = new pg.Client({
    host: 'localhost',
    port: b.port,
    database: 'postgres',
    user: attempt.user ?? 'ann',
    password: attempt.password ?? 'secret',
    ssl: attempt.tls ? { ca: ca.cert } : false,
    enableChannelBinding: attempt.binding !== 'disable',
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('SELECT 1');
    await client.end();
    return 'in';
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return `${code} ${message}`;
  }
}

/** The same through libpq. */
async function byPsql(b: Bench, attempt: Attempt): Promise<string> {
  const words = {
    host: 'localhost',
    hostaddr: '127.0.0.1',
    port: b.port,
    dbname: 'postgres',
    user: attempt.user ?? 'ann',
    sslmode: attempt.tls ? 'verify-full' : 'disable',
    sslrootcert: root,
    channel_binding: attempt.binding ?? 'prefer',
    gssencmode: 'disable',
  };
  const line = Object.entries(words).map(([name, value]) => `${name}=${value}`);
  const child = spawn('psql', ['-XAtc', "SELECT 'in'", line.join(' ')], {
    env: { ...process.env, PGPASSWORD: attempt.password ?? 'secret' },
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  await new Promise((resolve) => child.once('close', resolve));
  return said.trim();
}

const clients = [
  { name: 'pg', logIn: byDriver, skip: false },
  { name: 'psql', logIn: byPsql, skip: psql ? false : ('psql is not on this machine' as const) },
];

const WRONG = /password authentication failed for user "ann"/;

let secured: Cluster;
let plain: Cluster;
let verifiers: VerifierReader;
let upstreamTls: ServerTls;
t.before(async () => {
  [secured, plain] = await Promise.all([
    Cluster.create({ hba: HBA }),
    Cluster.create({ major: 14, hba: HBA }),
  ]);
  await secureCluster(secured, server);
  upstreamTls = serverTls(`sslmode=verify-full&sslrootcert=${root}`);
  verifiers = new VerifierReader(secured.url());
  for (const cluster of [secured, plain]) {
    const control = await cluster.client();
    await control.query(`SET password_encryption = 'scram-sha-256'`);
    await control.query(`CREATE ROLE ann LOGIN PASSWORD 'secret'`);
    await control.query(`CREATE ROLE "Ünï" LOGIN PASSWORD 'pässwörd'`);
    await control.query(`CREATE ROLE late LOGIN PASSWORD 'secret' VALID UNTIL '2001-01-01'`);
    await control.query(`CREATE ROLE bare LOGIN`);
    await control.query(`SET password_encryption = 'md5'`);
    await control.query(`CREATE ROLE md5 LOGIN PASSWORD 'secret'`);
    await control.query(`CREATE ROLE old LOGIN PASSWORD 'secret'`);
    await control.end();
  }
});
t.teardown(async () => {
  await verifiers.close();
  await Promise.all([secured.destroy(), plain.destroy()]);
});

interface Way {
  /** Which certificate clients are shown. */
  shown?: TestCertificate;
  above: 'tls' | 'plain';
  scram?: ScramOptions;
}

function way(t: { teardown(fn: () => unknown): void }, { shown, above, scram }: Way) {
  const cluster = above === 'tls' ? secured : plain;
  const tls = above === 'tls' ? upstreamTls : undefined;
  const upstream = { host: tls ? 'localhost' : '127.0.0.1', port: cluster.port, tls };
  return front(
    t,
    cluster,
    {},
    {
      upstream,
      tls: shown && shows(shown),
      scram: scram?.mode,
      verifierOf: scram?.verifierOf,
    },
  );
}

const verifierOf = (user: string) => verifiers.verifierOf(user);

for (const { name, logIn, skip } of clients) {
  t.test(`${name}: (1) the server's own certificate, relayed`, { skip }, async (t) => {
    const b = await way(t, { shown: server, above: 'tls' });
    for (const binding of ['disable', 'prefer', 'require'] as const) {
      t.equal(await logIn(b, { tls: true, binding }), 'in', binding);
      t.match(await logIn(b, { tls: true, binding, password: 'no' }), WRONG, binding);
    }
  });

  t.test(`${name}: (2) the server without TLS, relayed`, { skip }, async (t) => {
    const b = await way(t, { shown: own, above: 'plain' });
    for (const tls of [true, false]) {
      t.equal(await logIn(b, { tls }), 'in');
      t.match(await logIn(b, { tls, password: 'no' }), WRONG);
    }
  });

  t.test(`${name}: (3) plain clients of a server with TLS, PLUS taken out`, { skip }, async (t) => {
    const b = await way(t, { above: 'tls' });
    // Without TLS libpq never says that it could bind; `pg` does, when it is let.
    const binding = name === 'pg' ? 'disable' : 'prefer';
    t.equal(await logIn(b, { binding }), 'in');
    t.match(await logIn(b, { binding, password: 'no' }), WRONG);
    t.equal(await logIn(b, { user: 'md5' }), 'in', 'md5 is none of our business');
    if (name === 'pg') t.match(await logIn(b, {}), /SCRAM channel binding negotiation error/);
  });

  t.test(`${name}: (4) other certificates, PLUS taken out`, { skip }, async (t) => {
    const b = await way(t, { shown: own, above: 'tls' });
    t.equal(await logIn(b, { tls: true, binding: 'disable' }), 'in');
    t.match(await logIn(b, { tls: true, binding: 'disable', password: 'no' }), WRONG);
    const refused = await logIn(b, { tls: true, binding: 'prefer' });
    t.match(refused, /SCRAM channel binding negotiation error/);
    if (name === 'psql') t.match(refused, /channel_binding=disable/, 'the hint');
    t.match(b.errors.at(-1), /channel_binding=disable.*--scram terminate/);
    t.equal(await logIn(b, { binding: 'disable' }), 'in', 'a plain client');
  });

  t.test(`${name}: (5) SCRAM ended at the proxy`, { skip }, async (t) => {
    const b = await way(t, { shown: own, above: 'tls', scram: { mode: 'auto', verifierOf } });
    for (const binding of ['disable', 'prefer', 'require'] as const) {
      t.equal(await logIn(b, { tls: true, binding }), 'in', binding);
      t.match(await logIn(b, { tls: true, binding, password: 'no' }), WRONG, binding);
    }
    t.equal(await logIn(b, { tls: true, user: 'Ünï', password: 'pässwörd' }), 'in');
    for (const user of ['nobody', 'late', 'bare', 'old']) {
      const said = await logIn(b, { tls: true, user });
      t.match(said, new RegExp(`password authentication failed for user "${user}"`));
    }
    t.equal(await logIn(b, { tls: true, user: 'md5' }), 'in', 'md5 is relayed');
    t.equal(await logIn(b, { tls: true, user: 'postgres' }), 'in', 'trust is relayed');
    t.same(b.errors, []);
  });

  t.test(`${name}: (5) over connections without TLS`, { skip }, async (t) => {
    const scram = { mode: 'terminate', verifierOf } as const;
    const b = await way(t, { above: 'tls', scram });
    t.equal(await logIn(b, {}), 'in');
    t.match(await logIn(b, { password: 'no' }), WRONG);
    const reader = new VerifierReader(plain.url());
    t.teardown(() => reader.close());
    const look = (user: string) => reader.verifierOf(user);
    const above = await way(t, {
      shown: own,
      above: 'plain',
      scram: { mode: 'terminate', verifierOf: look },
    });
    t.equal(await logIn(above, { tls: true, binding: 'require' }), 'in', 'bound here alone');
    t.match(await logIn(above, { tls: true, password: 'no' }), WRONG);
  });
}

t.test('SCRAM ended at the proxy is bound to the server above: nobody sits between', async (t) => {
  const between = await way(t, { shown: own, above: 'tls', scram: { mode: 'relay' } });
  const trusting = { ...serverTls('sslmode=require'), sni: false };
  const b = await front(
    t,
    secured,
    {},
    {
      upstream: { host: 'localhost', port: between.port, tls: trusting },
      tls: shows(own),
      scram: 'terminate',
      verifierOf,
    },
  );
  t.match(await byDriver(b, { tls: true }), /^28000 SCRAM channel binding check failed/);
});

t.test('a verifier that cannot be looked up', async (t) => {
  const lost = async () => {
    throw new Error('no connection');
  };
  const b = await way(t, {
    shown: own,
    above: 'tls',
    scram: { mode: 'auto', verifierOf: lost },
  });
  t.match(await byDriver(b, { tls: true }), /^08006 could not look up the role/);
  t.match(b.errors.at(-1), /could not be looked up: no connection/);
  const another = async () => (await verifierOf('Ünï')) as string;
  const mixed = await way(t, {
    shown: own,
    above: 'tls',
    scram: { mode: 'auto', verifierOf: another },
  });
  t.match(await byDriver(mixed, { tls: true }), WRONG, "another role's verifier");
});

t.test('unknown roles are challenged as known ones are', async (t) => {
  const b = await way(t, { above: 'tls', scram: { mode: 'terminate', verifierOf } });
  const challenge = async (port: number, user: string) => {
    const client = await RawClient.open(port);
    client.send(startupPacket({ user, database: 'postgres' }));
    await client.wait(() => client.messages.length === 1);
    const list = client.messages[0]!.body.toString('latin1', 4);
    const first = Buffer.from('n,,n=,r=abcdefghijklmnopqrstuvwx');
    const length = Buffer.alloc(4);
    length.writeInt32BE(first.length);
    const body = Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), length, first]);
    const header = Buffer.from([0x70, 0, 0, 0, body.length + 4]);
    client.send(header, body);
    await client.wait(() => client.messages.length === 2);
    const said = client.messages[1]!.body.toString('latin1', 4);
    client.send(Buffer.from([0x70, 0, 0, 0, 8]), Buffer.from('c=bi'));
    const refusal = (await client.end()).find((m) => m.type === 'E')!;
    client.destroy();
    return { list, said, refusal };
  };
  for (const user of ['ann', 'nobody', 'late']) {
    const through = await challenge(b.port, user);
    t.equal(through.list, 'SCRAM-SHA-256\0\0');
    const again = await challenge(b.port, user);
    const direct = await challenge(secured.port, user);
    const salt = (said: string) => /,s=.*$/.exec(said)![0];
    t.equal(salt(through.said), salt(again.said), `${user}: the same salt each time`);
    t.equal(salt(through.said), salt(direct.said), `${user}: the salt of the server`);
    t.not(through.said, again.said, 'another nonce each time');
    t.match(error(through.refusal), { code: '08P01', message: 'malformed SCRAM message' });
    t.same(error(through.refusal).code, error(direct.refusal).code);
  }
});
