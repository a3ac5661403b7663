import t from 'tap';
import { Load } from '../../cli/demo/load.js';
import { leftBehind } from '../../cli/demo/measure.js';
import { createTable } from '../../cli/demo/orders.js';
import type { PhaseName, Request } from '../../migration/phase.js';
import type { Migration } from '../../migration/store.js';
import { Rig } from './rig.js';

t.setTimeout(240_000);

const NAME = 'k';
const GHOST = `'00000000-0000-0000-0000-000000000001'`;

/**
 * A proxy that lives by its lease and acknowledges nothing: whatever has to be drained waits for
 * it, so that a phase can be met while it is under way.
 */
const addGhost = `INSERT INTO pgtandem.proxy (id, address, version, lease_until, epoch)
  VALUES (${GHOST}, 'ghost', '0', clock_timestamp() + interval '1 hour', 0)`;
const dropGhost = `DELETE FROM pgtandem.proxy WHERE id = ${GHOST}`;
const addStandby = `INSERT INTO pgtandem.standby (name) VALUES ('ghost')`;
const dropStandby = 'DELETE FROM pgtandem.standby';

const ackGhost = `UPDATE pgtandem.proxy SET epoch = (SELECT epoch FROM pgtandem.rules)
  WHERE id = ${GHOST}`;
const lock = 'BEGIN; LOCK TABLE orders IN SHARE UPDATE EXCLUSIVE MODE';

interface Stop {
  phase: PhaseName;
  /** What stops the migration in the phase, and what lets it go on. */
  stop?: string;
  go?: string;
  ask?: Request;
  until: PhaseName;
}

const STOPS: Stop[] = [
  { phase: 'expanding', stop: addGhost, go: ackGhost, until: 'dual-writing' },
  { phase: 'dual-writing', go: dropGhost, until: 'backfilling' },
  { phase: 'backfilling', stop: lock, go: dropStandby, until: 'verifying' },
  { phase: 'verifying', go: 'COMMIT', until: 'ready' },
  { phase: 'ready', until: 'ready' },
  { phase: 'cutting-over', stop: addGhost, go: dropGhost, ask: 'cutover', until: 'soaking' },
  { phase: 'soaking', until: 'soaking' },
  { phase: 'reverting', stop: addGhost, go: dropGhost, ask: 'revert', until: 'reverted' },
  { phase: 'reverted', until: 'reverted' },
  { phase: 'cutting-over', stop: addGhost, go: dropGhost, ask: 'cutover', until: 'soaking' },
  { phase: 'completing', stop: addGhost, go: dropGhost, ask: 'complete', until: 'completed' },
];

t.test('a proxy that is killed in any phase is started again, and that is all', async (t) => {
  const rig = await Rig.open();
  t.teardown(() => rig.close());
  await createTable(rig.cluster.url(), { rows: 20_000 });
  const load = new Load({ url: rig.proxy.url(), rows: 20_000, workers: 3, ratePerSecond: 150 });
  await load.start();
  t.teardown(() => load.stop());
  await rig.query(addStandby);
  const locker = await rig.cluster.client();
  t.teardown(() => locker.end());
  let started = false;
  for (const { phase, stop, go, ask, until } of STOPS) {
    if (stop) await locker.query(stop);
    if (!started) await rig.start(NAME, 'ALTER TABLE orders ALTER COLUMN amount TYPE bigint');
    started = true;
    if (ask) await rig.ask(NAME, ask, phase);
    // A ghost is met when it is waited for: only then has the phase begun what it is there for.
    const met = (migration: Migration) =>
      migration.phase.name === phase &&
      (!(stop === addGhost || go === dropGhost) ||
        JSON.stringify([migration.phase, migration.progress.waitingFor]).includes('proxy ghost'));
    await rig.when(NAME, met);
    await rig.killProxy();
    if (go) await (go === 'COMMIT' ? locker : rig.control).query(go);
    const migration = await rig.reach(NAME, until);
    t.pass(`killed in ${phase}, now ${migration.phase.name}`);
    if (migration.phase.name === 'soaking') {
      const wrong =
        'SELECT count(*)::int FROM orders WHERE amount IS DISTINCT FROM _pgtandem_old_amount';
      t.equal(await rig.one(wrong), 0, 'the relation is true on every row');
    }
  }
  await load.stop();
  const summary = load.summary();
  t.equal(summary.wrongCount, 0, JSON.stringify(summary.wrong.slice(0, 3)));
  const checked = await load.verify(rig.cluster.url());
  t.same([checked.lost, checked.wrong], [0, 0], checked.samples.join('; '));
  t.ok(checked.rowsChecked > 15_000);
  t.same(await leftBehind(rig.control), []);
});
