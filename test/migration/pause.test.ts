/**
 * Who has the last word about a migration that is paused: what found a reason in a phase may be slower than an
 * operator who has it moved on. What was broken to see this test fail: the pause looks at no phase, or at no pause;
 * what is asked for does not resume.
 */
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { connect } from '../../db/connect.js';
import { installSchema } from '../../db/schema.js';
import { requestMove } from '../../migration/request.js';
import { loadMigration, move, pauseIn, setPaused } from '../../migration/store.js';
import { loadParser } from '../../sql/rewriter.js';
import { startMigration } from './drive.js';

t.test('an operator has the last word', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  await loadParser();
  const control = await connect({ url: cluster.url(), role: 'test' });
  t.teardown(() => control.end());
  await installSchema(control);
  await control.query('CREATE TABLE t (id int PRIMARY KEY, n int)');
  const planned = await startMigration(control, 'm', 'ALTER TABLE t ALTER COLUMN n TYPE bigint');
  const now = async () => {
    const { phase, paused } = await loadMigration(control, 'm');
    return { phase: phase.name, paused };
  };

  t.ok(await pauseIn(control, planned, 'a child'));
  t.same(await now(), { phase: 'planned', paused: 'planned: a child' });
  t.notOk(await pauseIn(control, planned, 'another'), 'the first reason stays');
  t.same(await now(), { phase: 'planned', paused: 'planned: a child' });
  await setPaused(control, planned.id, 'by the operator');
  t.notOk(await pauseIn(control, planned, 'another'));
  t.same(await now(), { phase: 'planned', paused: 'by the operator' });

  const expanding = await move(control, planned, 'begun', { name: 'expanding' });
  t.same(await now(), { phase: 'expanding', paused: 'by the operator' }, 'a step resumes nothing');
  await requestMove(control, 'm', 'abort');
  t.same(await now(), { phase: 'aborting', paused: null }, 'what is asked for does');
  t.notOk(await pauseIn(control, expanding, 'a child'), 'of a phase that is over');
  t.same(await now(), { phase: 'aborting', paused: null });
});
