import t from 'tap';
import type { Seen } from '../../migration/seen.js';
import { type Situation, usesOf, whyUsed } from '../../migration/unused.js';

/*
 * What was broken to see this fail: each of whyUsed's four reasons left out in turn; the latest use
 * not looked for; `abort` made to wait; a text that was not read taken for one that names nothing.
 */

const now = new Date('2026-01-01T12:00:00Z');
const ago = (minutes: number) => new Date(now.getTime() - minutes * 60_000);
const HOUR = 3_600_000;

const seen = (named: string[] | null, lastSeen: Date, application = 'app'): Seen => ({
  statement: 'select name from users',
  isWhole: true,
  outcome: 'unchanged',
  reason: null,
  named,
  application,
  user: 'u',
  count: 3,
  firstSeen: ago(1_000),
  lastSeen,
});

function situation(all: Seen[], more: Partial<Situation> = {}): Situation {
  const since = ago(600);
  const columns = ['name'];
  return { columns, uses: usesOf(all, columns, since), silent: [], since, now, ...more };
}

t.test('a name that was used within the time is used', async (t) => {
  const all = [
    seen(['name'], ago(50), 'slow'),
    seen(['name', 'full_name'], ago(20), 'late'),
    seen(['full_name'], ago(1)),
    seen([], ago(0)),
  ];
  const why = whyUsed(situation(all), HOUR, 'complete');
  t.equal(why, 'name was used 20m ago by late as u: select name from users');
  t.equal(whyUsed(situation(all), 10 * 60_000, 'complete'), null);
  t.equal(whyUsed(situation(all), 0, 'complete'), null);
  t.equal(whyUsed(situation(all, { columns: [] }), HOUR, 'complete'), null);
  const before = [seen(['name'], ago(700))];
  t.equal(whyUsed(situation(before), 24 * HOUR, 'abort'), null, 'what was before is not its own');
});

t.test('what is not known is used, but for who goes back', async (t) => {
  const blind = [{ ...seen(null, ago(5)), statement: '' }];
  t.match(
    whyUsed(situation(blind), HOUR, 'complete'),
    /name \(a statement that could not be read\)/,
  );
  t.match(whyUsed(situation(blind), HOUR, 'abort'), /name \(a statement/);
  const silent = { silent: ['127.0.0.1:6432'] };
  t.match(
    whyUsed(situation([], silent), HOUR, 'complete'),
    /not known.*127.0.0.1:6432 does not tell/,
  );
  t.equal(whyUsed(situation([], silent), HOUR, 'abort'), null);
  const young = { since: ago(10) };
  t.match(whyUsed(situation([], young), HOUR, 'complete'), /watched for 10m only, of 1h/);
  t.equal(whyUsed(situation([], young), HOUR, 'abort'), null);
  t.equal(whyUsed(situation([]), HOUR, 'complete'), null);
});
