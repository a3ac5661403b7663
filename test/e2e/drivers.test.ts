/**
 * The drivers that npm alone installs, and psql where it is there, through every phase of two
 * migrations, each on a connection that is older than both. The others are run by
 * `npm run test:drivers`.
 *
 * Broken to see it fail:
 *
 * | what was broken | what failed |
 * | --- | --- |
 */
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { viaKysely } from '../drivers/node/kysely.js';
import { viaPg } from '../drivers/node/pg.js';
import { viaPostgresJs } from '../drivers/node/postgres-js.js';
import { viaTypeOrm } from '../drivers/node/typeorm.js';
import { openRig, walk } from '../drivers/phases.js';
import { Psql } from '../drivers/psql.js';

const hasPsql = spawnSync('psql', ['--version']).status === 0;
/** Rows that psql writes in a phase by COPY and in DO, which are the guard's. */
const GUARDED_BY_PSQL = 3;

t.test('drivers see no difference in any phase', async (t) => {
  const rig = await openRig();
  t.teardown(() => rig.close());
  const url = rig.proxy.url();
  const subjects = [
    await viaPg(url),
    await viaPostgresJs(url),
    await viaKysely(url),
    await viaTypeOrm(url),
    ...(hasPsql ? [new Psql(url)] : []),
  ];
  t.teardown(() => Promise.all(subjects.map((subject) => subject.end())));
  let phases = 0;
  for await (const phase of walk(rig)) {
    phases++;
    const results = await Promise.allSettled(subjects.map((subject) => subject.exercise(phase)));
    for (const [i, result] of results.entries()) {
      const message = result.status === 'rejected' ? String(result.reason) : '';
      t.equal(message, '', `${subjects[i]!.name}: ${phase.name}`);
    }
    const migration = phase.name.split(':')[0]!;
    if (!phase.name.endsWith('soaking-again')) continue;
    const { progress } = await rig.when(migration, () => true);
    const guarded = hasPsql ? GUARDED_BY_PSQL * phases : 0;
    t.ok(
      Number(progress.repairs ?? 0) <= guarded,
      `${migration}: only COPY and DO are the guard's`,
    );
  }
  t.equal(phases, 13);
  t.equal(await rig.proxy.metric('pgtandem_out_of_sync_total'), 0);
  t.equal(await rig.proxy.metric('pgtandem_errors_total'), 0);
});
