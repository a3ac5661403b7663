/**
 * What was broken to see this test fail: nothing is forgotten when there is a notification; it is still
 * listened to after the end.
 */
import { once } from 'node:events';
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { connect } from '../../db/connect.js';
import { CHANNEL, installSchema } from '../../db/schema.js';
import { LiveSettings } from '../../migration/live-settings.js';
import { changeSettings, reloadSettings } from '../../migration/store.js';

t.test('settings that were changed are there when that was said', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const url = cluster.url();
  const own = await connect({ url, role: 'test' });
  const other = await connect({ url, role: 'test' });
  t.teardown(() => Promise.all([own.end(), other.end()]));
  await installSchema(own);
  const { rows } = await own.query(
    `INSERT INTO pgtandem.migration (name, definition, plan, phase, settings)
     VALUES ('m', '{}', '{}', '{}', '{"maxLagMs": 1}') RETURNING id::int`,
  );
  const { id } = rows[0];
  await own.query(`LISTEN ${CHANNEL}`);
  // By their age alone they would never be read again.
  const live = new LiveSettings(own, () => reloadSettings(own, id), Number.POSITIVE_INFINITY);
  t.match(await live.value(), { maxLagMs: 1 });
  await other.query(`UPDATE pgtandem.migration SET settings = '{"maxLagMs": 2}'`);
  t.match(await live.value(), { maxLagMs: 1 }, 'nobody has said so');
  const told = once(own, 'notification');
  await changeSettings(other, id, { maxLagMs: 3 });
  await told;
  t.match(await live.value(), { maxLagMs: 3 });
  live.close();
  t.equal(own.listenerCount('notification'), 0);
});
