import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { loadParser } from '../../sql/rewriter.js';
import { seedFrom } from '../sql/random.js';
import { report, runWorld } from './run.js';
import { Counts } from './trial.js';

const seed = seedFrom(process.env.SEED);
const IS_LONG = process.env.LONG === '1';
const STATEMENTS = Number(process.env.LONG_STATEMENTS ?? (IS_LONG ? 1_000_000 : 4_000));
/** One world only, to look into. */
const ONLY = process.env.WORLD === undefined ? null : Number(process.env.WORLD);
/** Worlds at once: a migration mostly waits. */
const AT_ONCE = 3;
/** Every third world is on the oldest server. */
const majorOf = (world: number) => (world % 3 === 2 ? 14 : 18);

t.setTimeout(IS_LONG ? 7_200_000 : 280_000);

t.test(`through the proxy as on a plain table, seed ${seed}`, async (t) => {
  await loadParser();
  const counts = new Counts();
  const clusters = new Map<number, Cluster>();
  t.teardown(() => Promise.all([...clusters.values()].map((cluster) => cluster.destroy())));
  for (const major of [14, 18]) clusters.set(major, await Cluster.create({ major }));
  let next = ONLY ?? 0;
  let failed = false;
  let refused = 0;
  const isOver = () => failed || (ONLY === null ? counts.statements >= STATEMENTS : next > ONLY);
  const work = async () => {
    while (!isOver()) {
      const number = next++;
      const cluster = clusters.get(majorOf(number))!;
      const found = await runWorld(cluster, number, { seed, cases: 8, steps: 16, counts });
      if (found === null) refused++;
      for (const wrong of found ?? []) t.comment(report(wrong));
      failed ||= (found?.length ?? 0) > 0;
      if (found) t.equal(found.length, 0, `world ${number} of seed ${seed} shows no difference`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  t.comment(`${counts.statements} statements, ${refused} plans refused`);
  t.comment(JSON.stringify(Object.fromEntries([...counts.by].sort())));
});
