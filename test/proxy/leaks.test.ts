import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';

t.setTimeout(300_000);

const program = fileURLToPath(new URL('./leaks-run.js', import.meta.url));

/** What is done again and again, and how often before it is measured: until all that is bounded is full. */
const CASES = [
  { what: 'connections', first: 100, count: 400 },
  { what: 'session', first: 100, count: 400 },
  { what: 'rules', first: 100, count: 400 },
  { what: 'texts', first: 6_000, count: 1_000 },
  { what: 'relations', first: 1_000, count: 1_000 },
];

/** Something that is kept each time is more than this, bytes; what is made once is less, divided. */
const KEPT = 24;

for (const { what, first, count } of CASES) {
  t.test(`nothing is kept of ${what}`, async (t) => {
    const args = [program, what, first, count].map(String);
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const each = Number(stdout);
    t.comment(`${each.toFixed(0)} bytes each`);
    t.ok(each < KEPT, `${each.toFixed(0)} bytes are kept each time`);
  });
}
