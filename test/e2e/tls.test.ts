import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import pg from 'pg';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { ProxyProcess } from '../../cli/demo/proxy-process.js';
import { judge } from '../../cli/scram.js';
import { loadTls } from '../../cli/tls.js';
import { makeCertificate } from '../proxy/certificates.js';
import { until } from '../proxy/harness.js';
import { secureCluster } from '../proxy/secure.js';

t.setTimeout(120_000);

const folder = mkdtempSync(join(tmpdir(), 'pgtandem-tls-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const put = (name: string, text: string) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const ca = makeCertificate({ name: 'test authority' });
const hosts = ['localhost', '127.0.0.1'];
const server = makeCertificate({ name: 'server', hosts, issuer: ca });
const first = makeCertificate({ name: 'first', hosts, issuer: ca });
const second = makeCertificate({ name: 'second', hosts, issuer: ca });
const root = put('ca.pem', ca.cert);
const tlsCert = put('proxy.pem', first.cert);
const tlsKey = put('proxy.key', first.key);

const HBA = 'hostssl all control 127.0.0.1/32 trust\nhost all postgres 127.0.0.1/32 trust\n';

t.test('a proxy with TLS on both sides, and SCRAM ended in it', async (t) => {
  const cluster = await Cluster.create({ hba: `${HBA}hostssl all all 127.0.0.1/32 scram-sha-256` });
  t.teardown(() => cluster.destroy());
  await secureCluster(cluster, server);
  const admin = await cluster.client();
  await admin.query("CREATE ROLE control SUPERUSER LOGIN; CREATE ROLE ann LOGIN PASSWORD 'secret'");
  await admin.end();
  const upstream = `postgres://control@localhost:${cluster.port}/postgres?sslmode=verify-full&sslrootcert=${root}`;
  const options = ['--tls-cert', tlsCert, '--tls-key', tlsKey, '--tls', 'required'];
  const proxy = await ProxyProcess.start(upstream, '127.0.0.1:0', options);
  t.teardown(() => proxy.end('SIGTERM'));
  const [, port] = proxy.address.split(':');
  const shown = () =>
    new Promise<string>((resolve, reject) => {
      const socket = tlsConnect({
        port: Number(port),
        host: 'localhost',
        ca: ca.cert,
        ALPNProtocols: ['postgresql'],
      });
      socket.once('secureConnect', () => {
        resolve(`${socket.getPeerCertificate().subject.CN}`);
        socket.destroy();
      });
      socket.once('error', reject);
    });
  const login = async (password: string) => {
    const client = new pg.Client({
      host: 'localhost',
      port: Number(port),
      user: 'ann',
      database: 'postgres',
      password,
      ssl: { ca: ca.cert },
      enableChannelBinding: true,
    });
    await client.connect();
    const { rows } = await client.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
    return { client, ssl: rows[0].ssl };
  };
  const told = proxy.log.find((line) => line.includes('"msg":"encryption"'));
  t.match(JSON.parse(told!), { scram: { tls: 'terminate', plain: null } });
  const { client, ssl } = await login('secret');
  t.equal(ssl, true);
  await t.rejects(login('no'), { code: '28P01' });
  const plain = new pg.Client({ connectionString: proxy.url('postgres', 'ann'), ssl: false });
  await t.rejects(plain.connect(), { code: '28000', message: /no encryption/ });

  t.equal(await shown(), 'first');
  const logged = async (pattern: RegExp) => {
    let line: string | undefined;
    await until(`${pattern} is logged`, () => {
      line = proxy.log.find((each) => pattern.test(each));
      return line !== undefined;
    });
    return line!;
  };
  put('proxy.pem', 'nonsense');
  process.kill(proxy.pid, 'SIGHUP');
  t.match(await logged(/not read again/), /proxy\.pem/, 'which file it is');
  t.equal(await shown(), 'first', 'the old one stays');
  put('proxy.pem', second.cert);
  put('proxy.key', second.key);
  process.kill(proxy.pid, 'SIGHUP');
  await logged(/certificates read again/);
  t.equal(await shown(), 'second');
  t.same((await client.query('SELECT 1 AS n')).rows, [{ n: 1 }], 'the session stays');
  const again = await login('secret');
  await again.client.end();
  await client.end();

  // A role that may not read verifiers.
  const later = await cluster.client();
  await later.query('ALTER ROLE control NOSUPERUSER');
  await later.end();
  await t.rejects(
    ProxyProcess.start(upstream, '127.0.0.1:0', [...options, '--scram', 'terminate']),
    /may not read them.*GRANT SELECT \(rolname, rolpassword\) ON pg_authid/s,
  );
  await t.rejects(
    ProxyProcess.start(upstream, '127.0.0.1:0', [...options, '--scram', 'relay']),
    /two different certificates.*--scram auto/s,
  );
  const bare = 'postgres://control@127.0.0.1:1/postgres?sslmode=verify-full';
  await t.rejects(ProxyProcess.start(bare), /needs the certificate authority.*sslrootcert=FILE/s);
});

t.test('options that do not fit together are refused, and name the file', async (t) => {
  const clientCa = { tlsClientCa: root };
  const bad = put('bad.pem', 'nonsense');
  const foreign = put('foreign.key', server.key);
  put('proxy.pem', first.cert);
  put('proxy.key', first.key);
  t.equal(loadTls({}), undefined);
  t.match(loadTls({ tlsCert, tlsKey }), { clientCert: 'none', required: false });
  t.match(loadTls({ tlsCert, tlsKey, ...clientCa }), { clientCert: 'require' });
  for (const [options, message] of [
    [{ tls: 'required' as const }, /no certificate to show/],
    [clientCa, /no certificate to show/],
    [{ tlsCert }, /belong together/],
    [{ tlsCert, tlsKey, tlsClientCert: 'require' as const }, /who may sign/],
    [{ tlsCert: '/nowhere.pem', tlsKey }, /nowhere\.pem/],
    [{ tlsCert: bad, tlsKey }, /bad\.pem \(--tls-cert\)/],
    [{ tlsCert, tlsKey: bad }, /bad\.pem \(--tls-key\)/],
    [{ tlsCert, tlsKey: foreign }, /foreign\.key is not that of/],
    [{ tlsCert, tlsKey, tlsClientCa: bad }, /bad\.pem \(--tls-client-ca\)/],
  ] as const) {
    t.throws(() => loadTls(options), { name: 'UserError', message, hint: /./ });
  }
});

t.test('the way with SCRAM that follows from how both sides are', async (t) => {
  const verifierOf = async () => null;
  const legs = (clientTls: boolean, serverTls: boolean, sameCertificate = false) => ({
    clientTls,
    serverTls,
    sameCertificate,
  });
  const ways = (...args: Parameters<typeof judge>) => judge(...args).ways;
  const auto = { mode: 'auto', verifierOf } as const;
  t.same(ways(auto, false, legs(true, true, true)), { tls: 'relay', plain: 'strip' });
  t.same(ways(auto, false, legs(true, false)), { tls: 'relay', plain: 'relay' });
  t.same(ways(auto, false, legs(false, true)), { tls: null, plain: 'strip' });
  t.same(ways({ mode: 'auto' }, false, legs(true, true)), { tls: 'strip', plain: 'strip' });
  t.match(judge({ mode: 'auto' }, false, legs(true, true)).warning, /channel_binding=disable/);
  t.same(judge(auto, true, legs(true, true)), {
    ways: { tls: 'terminate', plain: null },
    warning: null,
  });
  t.throws(() => judge({ mode: 'terminate' }, false, legs(true, true)), {
    name: 'UserError',
    hint: /pg_authid/,
  });
  t.throws(() => judge({ mode: 'relay' }, false, legs(true, true)), {
    name: 'UserError',
    hint: /--scram auto/,
  });
  t.throws(() => judge({ mode: 'relay' }, false, legs(false, true)), {
    name: 'UserError',
    hint: /--scram auto/,
  });
  t.same(ways({ mode: 'relay' }, true, legs(true, true, true)), { tls: 'relay', plain: null });
});
