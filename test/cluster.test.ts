import t from 'tap';
import { Cluster } from '../cli/demo/cluster.js';

for (const major of [14, 18]) {
  t.test(`PostgreSQL ${major} runs with a streaming standby`, async (t) => {
    const primary = await Cluster.create({ major });
    t.teardown(() => primary.destroy());
    const standby = await primary.standby('standby1');
    t.teardown(() => standby.destroy());
    const a = await primary.client();
    const { rows } = await a.query('SHOW server_version_num');
    t.equal(Math.floor(Number(rows[0].server_version_num) / 10000), major);
    const b = await standby.client();
    t.equal((await b.query('SELECT pg_is_in_recovery() AS r')).rows[0].r, true);
    await Promise.all([a.end(), b.end()]);
  });
}
