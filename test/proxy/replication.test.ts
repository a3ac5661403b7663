/**
 * Replication through the proxy: the protocol by hand, a physical standby and a logical
 * subscription whose connections go through it. Such sessions are relayed raw.
 */
import t from 'tap';
import { bench, RawClient, until } from './harness.js';
import { brief, copyData, copyDone, Q, row, X } from './wire.js';

t.setTimeout(120_000);

/** Standby status update: all has been written, flushed and applied up to here. */
function statusUpdate(lsn: bigint, reply = 0): Buffer {
  const body = Buffer.alloc(34);
  body.write('r');
  for (const at of [1, 9, 17]) body.writeBigInt64BE(lsn, at);
  body[33] = reply;
  return copyData(body);
}

const lsnOf = (text: string) => {
  const [high, low] = text.split('/').map((part) => Number.parseInt(part, 16));
  return (BigInt(high!) << 32n) + BigInt(low!);
};

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major}: streaming by hand, with standby status updates`, async (t) => {
    const b = await bench(t, { major });
    const control = await b.cluster.client();
    await control.query('CREATE TABLE t (a text)');
    for (const kind of ['PHYSICAL', 'LOGICAL']) {
      const client = await RawClient.login(b.port, {
        replication: kind === 'LOGICAL' ? 'database' : 'true',
      });
      client.send(Q('IDENTIFY_SYSTEM'));
      const identity = await client.ready();
      t.match(brief(identity), /C:IDENTIFY_SYSTEM Z:I$/);
      const lsn = row(identity.find((m) => m.type === 'D')!.body)[2]!;
      const plugin = kind === 'LOGICAL' ? ' test_decoding' : '';
      client.send(Q(`CREATE_REPLICATION_SLOT s TEMPORARY ${kind}${plugin}`));
      t.match(brief(await client.ready()), /C:CREATE_REPLICATION_SLOT Z:I$/);
      client.send(Q(`START_REPLICATION SLOT s ${kind} ${kind === 'LOGICAL' ? '0/0' : lsn}`));
      await client.wait(() => client.messages.some((m) => m.type === 'W'));
      await control.query("INSERT INTO t VALUES ('through the proxy')");
      const { rows } = await control.query('SELECT pg_current_wal_flush_lsn() AS lsn');
      const streamed = () =>
        client.messages.some(
          (m) => m.type === 'd' && m.body[0] === 0x77 && m.body.includes('through the proxy'),
        );
      await client.wait(streamed);
      const end = lsnOf(rows[0].lsn);
      client.send(statusUpdate(end));
      await until('the server knows how far we are', async () => {
        const stat = await control.query(
          'SELECT 1 FROM pg_stat_replication WHERE flush_lsn >= $1::pg_lsn',
          [rows[0].lsn],
        );
        return stat.rows.length > 0;
      });
      const keepAlives = () =>
        client.messages.filter((m) => m.type === 'd' && m.body[0] === 0x6b).length;
      const before = keepAlives();
      client.send(statusUpdate(end, 1));
      await client.wait(() => keepAlives() > before);
      // Either side may end CopyBoth; then commands go on.
      client.send(copyDone);
      t.match(brief(await client.ready()), /Z:I$/);
      client.send(Q('IDENTIFY_SYSTEM'));
      t.match(brief(await client.ready()), /C:IDENTIFY_SYSTEM Z:I$/);
      client.send(Q('SELECT 1'));
      t.match(brief(await client.ready()), kind === 'LOGICAL' ? /D:1 C:SELECT 1 Z:I$/ : /E:/);
      client.send(X);
      await client.end();
      await until('its session has ended', () => b.proxy.stats().connections === 0);
    }
    const lost = await RawClient.login(b.port, { replication: 'true' });
    lost.send(Q('CREATE_REPLICATION_SLOT s TEMPORARY PHYSICAL'));
    await lost.ready();
    lost.destroy();
    await until('its slot has gone with it', async () => {
      const { rows } = await control.query('SELECT 1 FROM pg_replication_slots');
      return rows.length === 0 && b.proxy.stats().connections === 0;
    });
    await control.end();
    t.same(b.errors, []);
  });

  t.test(`PostgreSQL ${major}: BASE_BACKUP`, async (t) => {
    const b = await bench(t, { major });
    const client = await RawClient.login(b.port, { replication: 'true' });
    client.send(Q(major >= 15 ? "BASE_BACKUP (CHECKPOINT 'fast')" : 'BASE_BACKUP FAST'));
    const messages = await client.ready();
    t.match(brief(messages.slice(-3)), /C:.* Z:I$/);
    const data = messages.filter((m) => m.type === 'd');
    const bytes = data.reduce((sum, m) => sum + m.body.length, 0);
    t.ok(bytes > 20e6, `${Math.round(bytes / 1e6)} MB`);
    t.ok(Buffer.concat(data.map((m) => m.body)).includes('PG_VERSION'), 'a tar of the cluster');
    client.destroy();
    t.same(b.errors, []);
  });

  t.test(`PostgreSQL ${major}: a physical standby streams through the proxy`, async (t) => {
    const b = await bench(t, { major });
    const standby = await b.cluster.standby('walking', {
      primary_conninfo: `host=${b.host} port=${b.port} user=postgres application_name=walking`,
      wal_retrieve_retry_interval: '100ms',
    });
    t.teardown(() => standby.destroy());
    const control = await b.cluster.client();
    await control.query('CREATE TABLE t AS SELECT generate_series(1, 100000) AS i');
    const { rows } = await control.query('SELECT pg_current_wal_flush_lsn() AS lsn');
    const reader = await standby.client();
    await until('it has replayed all', async () => {
      const { rows: replayed } = await reader.query(
        'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS done',
        [rows[0].lsn],
      );
      return replayed[0].done;
    });
    t.same((await reader.query('SELECT count(*)::int AS n FROM t')).rows, [{ n: 100_000 }]);
    t.equal(b.proxy.stats().connections, 1, 'through the proxy, and nothing else');
    const seen = await control.query(
      "SELECT state FROM pg_stat_replication WHERE application_name = 'walking'",
    );
    t.same(seen.rows, [{ state: 'streaming' }]);
    // The server goes and comes: the standby connects again, through the proxy.
    control.on('error', () => undefined);
    await b.cluster.end('SIGQUIT');
    await until('its session has ended', () => b.proxy.stats().connections === 0);
    await b.cluster.start();
    const again = await b.cluster.client();
    await again.query('INSERT INTO t VALUES (0)');
    await until(
      'it follows again',
      async () => {
        const { rows: found } = await reader.query('SELECT 1 FROM t WHERE i = 0');
        return found.length > 0;
      },
      30_000,
    );
    await Promise.all([again.end(), reader.end()]);
  });

  t.test(`PostgreSQL ${major}: a subscription through the proxy`, async (t) => {
    const b = await bench(t, { major });
    const second = await bench(t, { major });
    const control = await b.cluster.client();
    const subscriber = await second.cluster.client();
    await control.query(
      "CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (1, 'copied')",
    );
    await control.query('CREATE PUBLICATION p FOR TABLE t');
    await subscriber.query('CREATE TABLE t (a int PRIMARY KEY, b text)');
    await subscriber.query(
      `CREATE SUBSCRIPTION s CONNECTION 'host=${b.host} port=${b.port} user=postgres dbname=postgres'
       PUBLICATION p`,
    );
    const has = (count: number) =>
      until(
        `${count} rows have come`,
        async () => {
          const { rows } = await subscriber.query('SELECT 1 FROM t');
          return rows.length === count;
        },
        30_000,
      );
    await has(1);
    await control.query("INSERT INTO t SELECT i, 'streamed' FROM generate_series(2, 1000) i");
    await has(1000);
    t.same(
      (await subscriber.query('SELECT b, count(*)::int AS n FROM t GROUP BY b ORDER BY b')).rows,
      [
        { b: 'copied', n: 1 },
        { b: 'streamed', n: 999 },
      ],
    );
    t.ok(b.proxy.stats().connections >= 1);
    await subscriber.query('DROP SUBSCRIPTION s');
    const { rows } = await control.query('SELECT 1 FROM pg_replication_slots');
    t.same(rows, [], 'its slot was dropped through the proxy');
    await until('no session is left', () => b.proxy.stats().connections === 0);
    await Promise.all([control.end(), subscriber.end()]);
    t.same(b.errors, []);
  });
}
