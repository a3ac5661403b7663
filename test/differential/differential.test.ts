import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { loadParser } from '../../sql/rewriter.js';
import { seedFrom } from '../sql/random.js';
import { report, runWorld } from './run.js';
import { Counts } from './trial.js';

const seed = seedFrom(process.env.SEED);
const IS_LONG = process.env.LONG === '1';
const STATEMENTS = Number(process.env.LONG_STATEMENTS ?? (IS_LONG ? 1_000_000 : 4_000));
const ONLY = process.env.WORLD;

t.setTimeout(IS_LONG ? 3_500_000 : 280_000);

t.test(`through the proxy as on a plain table, seed ${seed}`, async (t) => {
  await loadParser();
  const counts = new Counts();
  let refused = 0;
  const clusters = new Map<number, Cluster>();
  t.teardown(() => Promise.all([...clusters.values()].map((cluster) => cluster.destroy())));
  for (let number = Number(ONLY ?? 0); counts.statements < STATEMENTS; number++) {
    const major = number % 3 === 2 ? 14 : 18;
    const cluster = clusters.get(major) ?? (await Cluster.create({ major }));
    clusters.set(major, cluster);
    const found = await runWorld(cluster, number, { seed, cases: 8, steps: 16, counts });
    if (found === null) refused++;
    else {
      for (const wrong of found) t.comment(report(wrong));
      t.equal(found.length, 0, `world ${number} of seed ${seed} shows no difference`);
    }
    if (ONLY !== undefined || (found?.length ?? 0) > 0) break;
  }
  t.comment(`${counts.statements} statements, ${refused} plans refused`);
  t.comment(JSON.stringify(Object.fromEntries([...counts.by].sort())));
});
