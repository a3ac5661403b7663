import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { ENDED, EVENTS, next, PHASES, REQUESTS, whyNot } from '../../migration/phase.js';

const spec = readFileSync(
  join(resolve(import.meta.dirname, '..', '..', '..'), 'migration', 'SPEC.md'),
  'utf8',
);

const cells = (line: string) =>
  line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());

t.test('SPEC.md tells the transitions that the table has, and no others', async (t) => {
  const told = spec
    .split('\n')
    .map(cells)
    .filter((row) => row.length === 3 && (EVENTS as readonly string[]).includes(row[1]!))
    .map((row) => row.join(' '))
    .sort();
  const there = PHASES.flatMap((from) =>
    EVENTS.flatMap((event) => {
      const to = next(from, event);
      return to === null ? [] : [`${from} ${event} ${to}`];
    }),
  ).sort();
  t.same(told, there);
});

t.test('SPEC.md tells what is done in each phase', async (t) => {
  const told = spec
    .split('\n')
    .map(cells)
    .filter((row) => row.length === 3 && (PHASES as string[]).includes(row[0]!))
    .filter((row) => !(EVENTS as readonly string[]).includes(row[1]!))
    .map((row) => row[0]);
  t.same(told, PHASES);
});

t.test('from each phase that has not ended there is a way to the end, and one back', async (t) => {
  const reach = (from: string) => {
    const seen = new Set([from]);
    for (const phase of seen) {
      for (const event of EVENTS) {
        const to = next(phase as (typeof PHASES)[number], event);
        if (to) seen.add(to);
      }
    }
    return seen;
  };
  for (const phase of PHASES.filter((phase) => !ENDED.has(phase))) {
    const ends = [...reach(phase)].filter((other) => (ENDED as Set<string>).has(other));
    t.ok(ends.length > 0, `${phase} can end`);
    if (phase !== 'completing') t.ok(reach(phase).has('aborted'), `${phase} can go back`);
  }
});

t.test('a request that can not be granted says what can', async (t) => {
  for (const phase of PHASES) {
    for (const request of REQUESTS) {
      const refused = whyNot(phase, request);
      t.equal(refused === null, next(phase, request) !== null);
      if (refused) t.ok(refused.hint.length > 5, `${request} in ${phase}: ${refused.hint}`);
    }
  }
});
