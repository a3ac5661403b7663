import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { connect } from '../../db/connect.js';
import { CHANNEL } from '../../db/schema.js';
import { type Followed, Follower } from '../../migration/follower.js';
import { until } from '../proxy/harness.js';

t.setTimeout(60_000);

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

t.test('a server that has lost commits is followed as a new one', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const control = await connect({ url: cluster.url(), role: 'test' });
  t.teardown(() => control.end());
  const follower = new Follower({ url: cluster.url(), address: 'a', version: '0', log: quiet });
  const stopping = new AbortController();
  const seen: Exclude<Followed, { kind: 'lease' }>[] = [];
  const followed = (async () => {
    for await (const item of follower.follow(stopping.signal)) {
      if (item.kind !== 'lease') seen.push(item);
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
