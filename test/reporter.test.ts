import t from 'tap';
import Reporter, { TapCount } from './reporter.js';

function count(tap: string): { lines: string[]; passed: number; failed: number } {
  const counter = new TapCount();
  const lines = tap.split('\n').flatMap((line) => counter.line(line));
  lines.push(...counter.end());
  const { passed, failed } = counter;
  return { lines, passed, failed };
}

const GOOD = `TAP version 14
1..2
# Subtest: dist/test/a.test.js
    # SEED=7
    # Subtest: one
        ok 1 - should be equal
        ok 2 - deeper
        1..2
    ok 1 - one # time=2.5ms

    ok 2 - alone
    1..2
    # time=3ms
ok 1 - dist/test/a.test.js # time=1300.3ms

# Subtest: dist/test/b.test.js
    ok 1 - x # SKIP no psql
    not ok 2 - y # TODO some day
    ok 3 - z
    1..3
ok 2 - dist/test/b.test.js # time=100ms
# { total: 6, pass: 4 }
`;

t.test('assertions are counted, subtests and files are not', async (t) => {
  const { lines, passed, failed } = count(GOOD);
  t.same({ passed, failed }, { passed: 4, failed: 0 });
  t.same(lines, [
    'ok   dist/test/a.test.js (3 passed, 1.3 s)',
    'ok   dist/test/b.test.js (1 passed, 2 skipped, 0.1 s)',
    '2 skipped',
    '4 passed, 0 failed',
  ]);
});

t.test('a failure is shown in full, with the comments of its file', async (t) => {
  const bad = GOOD.replace(
    '        ok 2 - deeper\n',
    '        not ok 2 - deeper\n          ---\n          diff: |\n            ok 9 - bait\n' +
      '          ...\n',
  )
    .replace('    ok 1 - one', '    not ok 1 - one')
    .replace(
      'ok 1 - dist/test/a.test.js # time=1300.3ms\n',
      'not ok 1 - dist/test/a.test.js # time=1300.3ms\n  ---\n  exitCode: 1\n  ...\n',
    );
  const { lines, passed, failed } = count(bad);
  t.same({ passed, failed }, { passed: 3, failed: 1 });
  t.same(lines.slice(0, 5), [
    'not ok: dist/test/a.test.js > one > deeper',
    '    diff: |',
    '      ok 9 - bait',
    'FAIL dist/test/a.test.js (2 passed, 1 failed, 1.3 s)',
    '    # SEED=7',
  ]);
  t.equal(lines.at(-1), '3 passed, 1 failed');
});

t.test('a file that crashes counts as a failure, although nothing in it has failed', async (t) => {
  const { lines, passed, failed } = count(`# Subtest: dist/test/a.test.js
    # Subtest: one
        ok 1 - should be equal
    # test count(1) != plan(null)
        # test count(1) != plan(null)
not ok 1 - dist/test/a.test.js # time=1813.892ms
  ---
  exitCode: null
  signal: SIGKILL
  ...
`);
  t.same({ passed, failed }, { passed: 1, failed: 1 });
  t.same(lines, [
    'FAIL dist/test/a.test.js (1 passed, 1 failed, 1.8 s)',
    'not ok: dist/test/a.test.js',
    '    exitCode: null',
    '    signal: SIGKILL',
    '1 passed, 1 failed',
  ]);
});

t.test('a subtest in braces counts like any other', async (t) => {
  const braces = `ok 1 - a.test.js # time=5ms {
    ok 1 - one {
        ok 1 - x
        not ok 2 - y
    }
    1..1
}
`;
  const { lines, passed, failed } = count(braces);
  t.same({ passed, failed }, { passed: 1, failed: 1 });
  t.equal(lines[0], 'not ok: a.test.js > one > y');
  t.match(lines[1], /^FAIL a\.test\.js \(1 passed, 1 failed/);
});

t.test('no assertion at all is a failure, and so is a bail-out', async (t) => {
  t.match(count(''), { passed: 0, failed: 1 });
  t.match(count('TAP version 14\n1..0\n').lines, ['not ok: no assertion was made']);
  t.match(count('ok 1 - x\nBail out! no disk\n'), { passed: 1, failed: 1 });
});

t.test('the reporter takes lines in any pieces', async (t) => {
  const reporter = new Reporter();
  const chunks: string[] = [];
  reporter.on('data', (chunk) => chunks.push(String(chunk)));
  for (let at = 0; at < GOOD.length; at += 7) reporter.write(GOOD.slice(at, at + 7));
  await new Promise<void>((resolve) => reporter.once('end', resolve).end());
  t.same(chunks.join('').trimEnd().split('\n'), count(GOOD).lines);
});
