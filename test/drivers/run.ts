/**
 * Broken to see it fail (the drivers' own breaks are in test/e2e/drivers.test.ts):
 *
 * | what was broken                           | what failed                                |
 * | ----------------------------------------- | ------------------------------------------ |
 * | replication connections are read          | pg_basebackup, every phase                 |
 * | no guard is made                          | pg_dump, every phase that has one          |
 * | what is prepared is right under all rules | pgbench (prepared), from the first cutover |
 */
import { parseArgs } from 'node:util';
import type { Rig } from '../e2e/rig.js';
import { COURSES, type Course } from './catalogue.js';
import type { Phase } from './phases.js';
import { type Outcome, printTable, writeDocs } from './report.js';
import type { Subject } from './subject.js';
import { NotInstalled } from './toolchains.js';

// One that ends each child with this process.
process.setMaxListeners(100);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'write-docs': { type: 'boolean' } },
});
const wanted = (name: string) =>
  positionals.length === 0 ||
  positionals.some((word) => name.toLowerCase().includes(word.toLowerCase()));
const reason = (error: unknown) => (error instanceof Error ? error.message : String(error));

interface Running {
  subject: Subject;
  outcome: Outcome;
  features: Set<string>;
}

/** Takes those that are wanted through the phases. */
async function runCourse(course: Course): Promise<Outcome[]> {
  const entries = course.entries.filter(({ name }) => wanted(name));
  if (entries.length === 0) return [];
  const outcomes: Outcome[] = entries.map(({ name }) => ({ ...NOTHING, name, errors: [] }));
  let rig: Rig;
  try {
    rig = await course.open();
  } catch (error) {
    for (const outcome of outcomes) couldNotStart(outcome, error);
    return outcomes;
  }
  const running: Running[] = [];
  try {
    for (const [i, entry] of entries.entries()) {
      const outcome = outcomes[i]!;
      try {
        const subject = await entry.open(rig);
        outcome.version = subject.version;
        running.push({ subject, outcome, features: new Set() });
      } catch (error) {
        couldNotStart(outcome, error);
      }
    }
    for await (const phase of course.walk(rig)) {
      process.stderr.write(`${phase.name}\n`);
      if (course.inTurn) for (const one of running) await exercise(one, phase);
      else await Promise.all(running.map((one) => exercise(one, phase)));
    }
    for (const { outcome, features } of running) outcome.features = [...features];
    await checkProxy(rig.proxy, outcomes);
  } catch (error) {
    const errors = [reason(error), ...rig.proxy.log.slice(-5)];
    outcomes.push({ ...NOTHING, name: 'the migration', errors });
  } finally {
    await Promise.all(running.map(({ subject }) => subject.end()));
    await rig.close();
  }
  return outcomes;
}

function couldNotStart(outcome: Outcome, error: unknown): void {
  if (error instanceof NotInstalled) outcome.missing = error.message;
  else outcome.errors.push(`start: ${reason(error)}`);
}

async function exercise({ subject, outcome, features }: Running, phase: Phase): Promise<void> {
  try {
    for (const feature of await subject.exercise(phase)) features.add(feature);
  } catch (error) {
    outcome.errors.push(`${phase.name}: ${reason(error)}`);
  }
  outcome.phases++;
}

const NOTHING = { version: '', features: [], phases: 0, errors: [] };

/** What the proxy counts of itself has to be 0. */
async function checkProxy(
  proxy: { metric(name: string): Promise<number> },
  outcomes: Outcome[],
): Promise<void> {
  for (const name of ['pgtandem_out_of_sync_total', 'pgtandem_errors_total']) {
    const count = await proxy.metric(name);
    if (count !== 0)
      outcomes.push({ ...NOTHING, name: 'the proxy', errors: [`${name} is ${count}`] });
  }
}

const outcomes: Outcome[] = [];
for (const course of COURSES) outcomes.push(...(await runCourse(course)));
printTable(outcomes);
if (values['write-docs']) writeDocs(outcomes);
process.exitCode = outcomes.some(({ errors }) => errors.length > 0) ? 1 : 0;
