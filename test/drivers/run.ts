import { parseArgs } from 'node:util';
import { CATALOGUE } from './catalogue.js';
import { openRig, walk } from './phases.js';
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

/** Takes every driver of the catalogue through the phases, side by side. */
async function runCatalogue(): Promise<Outcome[]> {
  const entries = CATALOGUE.filter(({ name }) => wanted(name));
  if (entries.length === 0) return [];
  const outcomes: Outcome[] = [];
  const rig = await openRig();
  const running: { subject: Subject; outcome: Outcome; features: Set<string> }[] = [];
  try {
    for (const entry of entries) {
      const outcome: Outcome = {
        name: entry.name,
        version: '',
        features: [],
        phases: 0,
        errors: [],
      };
      outcomes.push(outcome);
      try {
        const subject = await entry.open(rig.proxy.url());
        outcome.version = subject.version;
        running.push({ subject, outcome, features: new Set() });
      } catch (error) {
        if (error instanceof NotInstalled) outcome.missing = error.message;
        else outcome.errors.push(`start: ${reason(error)}`);
      }
    }
    for await (const phase of walk(rig)) {
      process.stderr.write(`${phase.name}\n`);
      await Promise.all(
        running.map(async ({ subject, outcome, features }) => {
          try {
            for (const feature of await subject.exercise(phase)) features.add(feature);
          } catch (error) {
            outcome.errors.push(`${phase.name}: ${reason(error)}`);
          }
          outcome.phases++;
        }),
      );
    }
    for (const { outcome, features } of running) outcome.features = [...features];
    await checkProxy(rig.proxy, outcomes);
  } catch (error) {
    outcomes.push({
      ...NOTHING,
      name: 'the migration',
      errors: [reason(error), ...rig.proxy.log.slice(-5)],
    });
  } finally {
    await Promise.all(running.map(({ subject }) => subject.end()));
    await rig.close();
  }
  return outcomes;
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

const outcomes = await runCatalogue();
printTable(outcomes);
if (values['write-docs']) writeDocs(outcomes);
process.exitCode = outcomes.some(({ errors }) => errors.length > 0) ? 1 : 0;
