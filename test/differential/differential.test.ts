import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { loadParser } from '../../sql/rewriter.js';
import { seedFrom } from '../sql/random.js';
import { report, runWorld } from './run.js';
import { Counts } from './trial.js';

/*
 * Two databases of one server with the same schema, one of them under migration behind a proxy with
 * its control plane. Schema, migration and what a client says are random (world.ts, words.ts,
 * writes.ts, reads.ts, talk.ts), and each answer is compared message by message, each field of an
 * error too; `random()` is seeded alike on both sides, so that one evaluation too many is seen. Behind
 * each step every row that it could see has to satisfy the relation, without a guard to help in half
 * of the worlds; with one, nothing that was rewritten may have been repaired. What the proxy refuses
 * fails on the other side as well. Stages: dual writing (rows not filled, the rules in force and not
 * yet acknowledged), ready, soaking, reverted; one session goes on through all of them, and what it has
 * prepared in one is used in the next. A quarter of the tables is partitioned, at two levels, by range, list
 * and hash, and a fifth has children by inheritance, at two levels, with columns of their own,
 * and some with a second parent, whose columns lie in front; both are written by
 * their own names, parents by ONLY too. Some migrations change two columns; beside some
 * another table is migrated at the same time. With guard `reject` only what is left to it may be rejected. A failure is made smaller, and printed with its seed.
 *
 * What of an answer is not compared, or may differ:
 *
 * - Fields F, L and R of an error, and oids (types, tables and columns are compared by name).
 * - Rows without ORDER BY are compared as a set; those of EXPLAIN not at all.
 * - DETAIL "Failing row contains ...", and of the CONTEXT of COPY what stands behind the line's number.
 * - HINT of 42703 where a statement uses the other name of a column: it goes by how names are spelled.
 * - In which row of several a unique key is violated (23505; in COPY also which key); currval after that.
 * - The moment at which a constant is out of range (Bind or Execute), if the error is the same.
 * - Which of two mistakes of a text is told: types that do not fit, constants that are none of theirs.
 * - The words for a set or aggregate in SET ("in VALUES"); the place of what is wrong in a sorted VALUES.
 * - A row that its partition refuses anyway: 0A000 of the guard's trigger in place of 23514, 23502 or 22P05.
 * - Which of two columns that may not be NULL is told, or in which partition (23502).
 * - A Bind with a wrong number of values, in a failed transaction, of what has to be prepared again.
 * - Hidden columns beside all others, where docs/limits.md lets them be seen (hidden.ts; counted).
 * - What is refused or rejected by a guard: on the other side something else fails in its place.
 *
 * And not tried, since docs/limits.md has it or it fails on a plain table too: lastval(); a parameter of a
 * declared type for columns of two types; a trigger that moves a row to another partition; in a session that
 * goes on, a trigger that reads or sets a column whose type changes (its cached plan casts to the old one); a default of an
 * added column.
 *
 * Broken on purpose, each found within six worlds of seed 5:
 *
 * - an UPDATE of other columns leaves a row unfilled (pairs.ts): the relation, dual writing
 * - what is volatile is written twice (pairs.ts): the relation, dual writing
 * - a copied value is not cast to its column's type (fragment.ts): an answer
 * - ON CONFLICT DO UPDATE writes one column only (insert.ts): the relation
 * - a star is not spelled out (star.ts): an answer
 * - INSERT without a column list is not given one (insert.ts): an answer
 * - a guarded text is sent without its edits (prepare.ts): the relation
 * - positions of errors are the server's (backend.ts): an answer
 * - a default counts as NULL (pairs.ts): a repair of what was rewritten
 * - what names mean is asked once and never again (resolve.ts): an answer
 * - the other name of a renamed column alone is not written to both (pairs.ts): an answer
 * - nextval and random() are written twice (safety.ts): a repair of what was rewritten
 * - a volatile default is written twice (pairs.ts): a repair; the relation
 * - an INSERT of MERGE writes one column only (merge.ts): the relation
 *
 * Found within 8000 statements of seed 5 (before there were children), since hidden columns may show only where
 * it is said:
 *
 * - a star over USING that is not hidden (hide.ts): an answer
 * - rows that are compared (whole-row.ts): an answer
 * - an added column that is left out after the cutover is not filled by the guard (guard.ts): the relation
 *
 * Not found within 9700 statements of it: DEFAULT under the new name of a rename (pairs.ts), and a COPY that leaves
 * a column to its default (copy.ts), which are rarely said. `cases.test.ts` finds both.
 */

const IS_LONG = process.env.LONG === '1';
/** New worlds are for the long run: what it finds wants somebody who looks at it. */
const seed = seedFrom(process.env.SEED ?? (IS_LONG ? undefined : '9001'));
const STATEMENTS = Number(process.env.LONG_STATEMENTS ?? (IS_LONG ? 1_000_000 : 4_000));
/** In the ordinary tests no world begins after so long, however slow the machine is. */
const BUDGET_MS = IS_LONG ? Number.POSITIVE_INFINITY : 40_000;
/** One world only, to look into. */
const ONLY = process.env.WORLD === undefined ? null : Number(process.env.WORLD);
/** Cases in each stage: to make a world costs as much as some hundred statements. */
const CASES = IS_LONG ? 16 : 8;
/** After so many worlds that show a difference no other begins: of an hour's run one is not all there is to know. */
const FAILURES = IS_LONG ? 10 : 1;
/** Worlds at once: a migration mostly waits. */
const AT_ONCE = 3;
/** Half of all statements fail, which is not for a log. */
const QUIET = { log_min_messages: 'log' };
/** Every third world is on the oldest server. */
const majorOf = (world: number) => (world % 3 === 2 ? 14 : 18);

t.setTimeout(IS_LONG ? 14_400_000 : 280_000);

t.test(`through the proxy as on a plain table, seed ${seed}`, async (t) => {
  await loadParser();
  const counts = new Counts();
  const clusters = new Map<number, Cluster>();
  t.teardown(() => Promise.all([...clusters.values()].map((cluster) => cluster.destroy())));
  const settings = { synchronous_commit: 'off', full_page_writes: 'off', jit: 'off', ...QUIET };
  for (const major of [14, 18]) clusters.set(major, await Cluster.create({ major, settings }));
  let next = ONLY ?? 0;
  let failed = 0;
  let refused = 0;
  const started = performance.now();
  const isEnough = () => counts.statements >= STATEMENTS || performance.now() - started > BUDGET_MS;
  const isOver = () => failed >= FAILURES || (ONLY === null ? isEnough() : next > ONLY);
  const work = async () => {
    while (!isOver()) {
      const number = next++;
      const cluster = clusters.get(majorOf(number))!;
      const found = await runWorld(cluster, number, { seed, cases: CASES, steps: 16, counts });
      if (found === null) refused++;
      for (const wrong of found ?? []) t.comment(report(wrong));
      if (found && found.length > 0) failed++;
      if (found) t.equal(found.length, 0, `world ${number} of seed ${seed} shows no difference`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  t.comment(`${counts.statements} statements, ${refused} plans refused`);
  t.comment(JSON.stringify(Object.fromEntries([...counts.by].sort())));
});
