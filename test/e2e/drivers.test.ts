/**
 * The drivers that npm alone installs, and psql where it is there, through every phase of two
 * migrations, the drivers on connections that are older than both. All others are run by
 * `npm run test:drivers`.
 *
 * Broken to see it fail:
 *
 * | what was broken                                | what failed                                    |
 * | ---------------------------------------------- | ---------------------------------------------- |
 * | an error's position is not mapped back         | pg: position                                   |
 * | `*` is not expanded                            | every driver                                   |
 * | COPY TO without a column list is left as it is | psql                                           |
 * | an UPDATE is left to the guard                 | pg: simple, whose batch it is in               |
 * | nothing is added to SET or to VALUES           | nothing was left to the guard                  |
 * | what is prepared is right under all rules      | pg: prepared; postgres.js tries again for ever |
 */
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { until } from '../backfill/setup.js';
import { viaKysely } from '../drivers/node/kysely.js';
import { viaPg } from '../drivers/node/pg.js';
import { viaPostgresJs } from '../drivers/node/postgres-js.js';
import { viaTypeOrm } from '../drivers/node/typeorm.js';
import { openRig, walk } from '../drivers/phases.js';
import { Psql } from '../drivers/psql.js';

const hasPsql = spawnSync('psql', ['--version']).status === 0;

t.setTimeout(120_000);

t.test('drivers see no difference in any phase', async (t) => {
  const rig = await openRig();
  t.teardown(() => rig.close());
  const url = rig.proxy.url();
  const drivers = [
    await viaPg(url),
    await viaPostgresJs(url),
    await viaKysely(url),
    await viaTypeOrm(url),
  ];
  t.teardown(() => Promise.all(drivers.map((driver) => driver.end())));
  // Rows that the guard has put right: nothing counts them twice, and no rollback takes one back.
  const repairs = () =>
    rig.one(`SELECT coalesce(sum(pg_sequence_last_value(oid)), 0)::int FROM pg_class
      WHERE relkind = 'S' AND relname LIKE 'repairs%'`);
  let phases = 0;
  for await (const phase of walk(rig)) {
    phases++;
    const before = await repairs();
    const results = await Promise.allSettled(drivers.map((driver) => driver.exercise(phase)));
    for (const [i, result] of results.entries()) {
      const message = result.status === 'rejected' ? String(result.reason) : '';
      t.equal(message, '', `${drivers[i]!.name}: ${phase.name}`);
    }
    t.equal(await repairs(), before, `${phase.name}: nothing was left to the guard`);
    // What its DO writes is.
    if (hasPsql) await t.resolves(new Psql(url).exercise(phase), `psql: ${phase.name}`);
  }
  t.equal(phases, 13);
  t.equal(await rig.proxy.metric('pgtandem_out_of_sync_total'), 0);
  t.equal(await rig.proxy.metric('pgtandem_errors_total'), 0);
  // A pool has ended when it has said so: one that is still leaving would be told that the proxy ends.
  await Promise.all(drivers.splice(0).map((driver) => driver.end()));
  await until(
    'all have left',
    async () => (await rig.proxy.metric('pgtandem_client_connections')) === 0,
  );
});
