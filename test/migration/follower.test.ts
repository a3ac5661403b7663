/** What was broken on purpose: `history` without the cluster's identifier fails the first test. */
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { connect } from '../../db/connect.js';
import { CHANNEL, installSchema } from '../../db/schema.js';
import { type Followed, Follower, type Place } from '../../migration/follower.js';
import { Address } from '../proxy/address.js';
import { until } from '../proxy/harness.js';

t.setTimeout(60_000);

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

t.test('behind the same address is another cluster, of the same timeline and epoch', async (t) => {
  // Of two versions, since clusters of one are made from one template, with its identifier.
  const clusters = await Promise.all([14, 18].map((major) => Cluster.create({ major })));
  t.teardown(() => Promise.all(clusters.map((cluster) => cluster.destroy())));
  for (const cluster of clusters) {
    const control = await connect({ url: cluster.url(), role: 'test' });
    await installSchema(control);
    await control.query(`UPDATE pgtandem.rules
      SET epoch = 3, rule_set = '{"epoch": 3, "tables": [], "of": ${cluster.port}}'`);
    await control.end();
  }
  const address = await Address.open(clusters[0]!.port);
  t.teardown(() => address.close());
  const url = `postgres://postgres@127.0.0.1:${address.port}/postgres`;
  const follower = new Follower({ url, address: 'a', version: '0', log: quiet });
  const stopping = new AbortController();
  const seen: Extract<Followed, { kind: 'rules' }>[] = [];
  const followed = (async () => {
    for await (const item of follower.follow(stopping.signal)) {
      if (item.kind !== 'rules') continue;
      seen.push(item);
      follower.acknowledge(item.rules.epoch, item.place);
    }
  })();
  await until('the first is followed', () => seen.length === 1);
  address.lead(clusters[1]!.port);
  await until('the other is followed', () => seen.length === 2, 20_000);
  t.same(
    seen.map(({ rules, place }) => ({ ...rules, term: place.term })),
    clusters.map(({ port }, i) => ({ epoch: 3, tables: [], of: port, term: i + 1 })),
    'its rules are put in force, and nothing counts that was acknowledged before',
  );
  stopping.abort();
  await followed;
});

t.test('a server that has lost commits is followed as a new one', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const control = await connect({ url: cluster.url(), role: 'test' });
  t.teardown(() => control.end());
  const follower = new Follower({ url: cluster.url(), address: 'a', version: '0', log: quiet });
  const stopping = new AbortController();
  const seen: Extract<Followed, { place: Place }>[] = [];
  const followed = (async () => {
    for await (const item of follower.follow(stopping.signal)) {
      if ('place' in item) seen.push(item);
    }
  })();
  const publish = (epoch: number) =>
    control.query(
      `UPDATE pgtandem.rules SET epoch = ${epoch}, rule_set = '{"epoch": ${epoch}, "tables": []}';
       NOTIFY ${CHANNEL}`,
    );
  const registered = async (epoch: number) =>
    until(`${epoch} is acknowledged`, async () => {
      const { rows } = await control.query('SELECT epoch::int FROM pgtandem.proxy');
      return rows.length === 1 && rows[0].epoch === epoch;
    });
  const latest = async (count: number) => {
    await until(`item ${count}`, () => seen.length === count);
    const item = seen[count - 1]!;
    return { term: item.place.term, epoch: item.kind === 'rules' ? item.rules.epoch : null };
  };
  t.same(await latest(1), { term: 1, epoch: 0 });
  await publish(5);
  t.same(await latest(2), { term: 1, epoch: 5 });
  follower.acknowledge(5, seen[1]!.place);
  await registered(5);

  await publish(3);
  t.same(await latest(3), { term: 2, epoch: 3 });
  await registered(0);
  follower.acknowledge(5, seen[1]!.place);
  await publish(4);
  t.same(await latest(4), { term: 2, epoch: 4 });
  await registered(0);
  follower.acknowledge(9, seen[3]!.place);
  await registered(4);

  follower.doubt();
  t.same(await latest(5), { term: 2, epoch: null }, 'looked at again: it is where it was');
  await registered(4);
  stopping.abort();
  await followed;
  t.equal((await control.query('SELECT FROM pgtandem.proxy')).rowCount, 0, 'signed off');
});

t.test(
  'processes of sessions that the server does not have are told of, and no others',
  async (t) => {
    const cluster = await Cluster.create();
    t.teardown(() => cluster.destroy());
    const control = await connect({ url: cluster.url(), role: 'test' });
    t.teardown(() => control.end());
    const { rows } = await control.query('SELECT pg_backend_pid() AS pid');
    const sessions = [rows[0].pid, process.pid];
    const newcomers = () => sessions.splice(0);
    const options = { url: cluster.url(), address: 'a', version: '0', log: quiet, newcomers };
    const follower = new Follower(options);
    const stopping = new AbortController();
    const seen: (readonly number[])[] = [];
    let terms = 0;
    const followed = (async () => {
      for await (const item of follower.follow(stopping.signal)) {
        if (item.kind === 'rules') terms = item.place.term;
        if (item.kind !== 'strangers') continue;
        seen.push(item.pids);
        follower.stray();
        if (seen.length === 1) sessions.push(process.pid, rows[0].pid);
      }
    })();
    await until('it is told of twice', () => seen.length === 2, 20_000);
    t.same(seen, [[process.pid], [process.pid]]);
    t.equal(terms, 1, 'of a server that is the same after all nothing is begun anew');
    stopping.abort();
    await followed;
  },
);
