import t from 'tap';
import { type DemoReport, printReport, promises, promisesKept } from '../../cli/demo/report.js';

const GOOD: DemoReport = {
  seed: 42,
  migration: 'orders.amount: integer to bigint',
  statements: 12_345,
  errors: 0,
  errorSamples: [],
  wrongReplies: 0,
  wrongSamples: [],
  byLog: { rowsChecked: 200_000, lost: 0, wrong: 0, samples: [] },
  bySql: { rowsChecked: 200_000, unequal: 0 },
  latency: {
    before: { count: 4_000, p50Ms: 0.612, p99Ms: 4.25, maxMs: 20 },
    during: { count: 6_000, p50Ms: 0.9, p99Ms: 12.3, maxMs: 222 },
    after: { count: 2_345, p50Ms: 0.6, p99Ms: 4, maxMs: 15 },
  },
  longestHoldMs: 31.4,
  lag: { highestMs: 12_345, forced: true },
  tableBytes: { before: 20 * 2 ** 20, highest: 29 * 2 ** 20 },
  throttledSeconds: { 'replica lag': 8.25, paused: 0 },
  leftBehind: [],
};

t.test('a report in which everything is in order passes', async (t) => {
  t.same(
    promises(GOOD).filter(({ kept }) => !kept),
    [],
  );
  t.equal(promisesKept(GOOD), true);
});

const BROKEN: [title: string, promise: RegExp, change: Partial<DemoReport>][] = [
  ['an error', /no error/, { errors: 1, errorSamples: ['0A000: cached plan'] }],
  ['a wrong answer', /right one/, { wrongReplies: 1 }],
  ['a lost row', /log/, { byLog: { rowsChecked: 9, lost: 1, wrong: 0, samples: [] } }],
  ['a wrong row', /log/, { byLog: { rowsChecked: 9, lost: 0, wrong: 1, samples: [] } }],
  [
    'a table that was not read',
    /log/,
    { byLog: { rowsChecked: 0, lost: 0, wrong: 0, samples: [] } },
  ],
  ['no comparison with the log', /log/, { byLog: null }],
  ['an unequal row', /database/, { bySql: { rowsChecked: 9, unequal: 1 } }],
  ['no comparison by SQL', /database/, { bySql: null }],
  ['a long hold', /held/, { longestHoldMs: 1_001 }],
  ['no measured hold', /held/, { longestHoldMs: null }],
  ['no latency', /fast/, { latency: { ...GOOD.latency, during: null } }],
  [
    'a slow time',
    /fast/,
    { latency: { ...GOOD.latency, during: { count: 1, p50Ms: 1, p99Ms: 101, maxMs: 101 } } },
  ],
  ['a lag that nothing stood still for', /standby/, { throttledSeconds: {} }],
  ['no measured lag', /standby/, { lag: { highestMs: null, forced: false } }],
  [
    'a table that has doubled',
    /grow/,
    { tableBytes: { before: 100 * 2 ** 20, highest: 201 * 2 ** 20 } },
  ],
  [
    'a small table that grew by more than it is worth to vacuum',
    /grow/,
    { tableBytes: { before: 2 ** 20, highest: 34 * 2 ** 20 } },
  ],
  ['something left', /left behind/, { leftBehind: ['trigger x'] }],
];
for (const [title, promise, change] of BROKEN) {
  t.test(`${title} breaks one promise`, async (t) => {
    const report = { ...GOOD, ...change };
    const broken = promises(report).filter(({ kept }) => !kept);
    t.equal(broken.length, 1);
    t.match(broken[0]?.promise, promise);
    t.equal(promisesKept(report), false);
    t.match(printReport(report), /FAIL[\s\S]*FAIL: 8 of 9 promises kept$/);
  });
}

t.test('a load that did nothing keeps no promise about its answers', async (t) => {
  t.equal(promises({ ...GOOD, statements: 0 }).filter(({ kept }) => !kept).length, 2);
});

t.test(
  'a report prints its numbers with their units, without colours, in 120 columns',
  async (t) => {
    const text = printReport(GOOD);
    for (const part of [
      /before +│ +4,000 +│ +0\.61 ms +│ +4\.25 ms +│ +20\.0 ms/,
      /after +│ +2,345/,
      /longest hold at cutover +│ 31\.4 ms/,
      /highest lag of the standby +│ 12\.3 s/,
      /20 MiB to 29 MiB \(1\.45x\)/,
      /backfill stood still +│ replica lag 8\.3 s +│/,
      /seed of the load +│ 42 /,
      /The application saw no error +│ PASS +│ 0 errors in 12,345 statements/,
      /PASS: 9 of 9 promises kept$/,
    ]) {
      t.match(text, part);
    }
    t.notOk(text.includes(String.fromCharCode(27)));
    t.ok(text.split('\n').every((line) => line.length <= 120));
  },
);
