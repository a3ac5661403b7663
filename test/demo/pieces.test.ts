import t from 'tap';
import { complaint, type Reply } from '../../cli/demo/check.js';
import { Latency } from '../../cli/demo/latency.js';
import { Model } from '../../cli/demo/model.js';
import { inline, nextOperation, statementCount } from '../../cli/demo/operations.js';
import { COLUMNS, type Order, type RawRow, seededOrder } from '../../cli/demo/orders.js';
import { Pace } from '../../cli/demo/pace.js';
import { Random } from '../../cli/demo/random.js';
import { selectRow, sumOwn, updateAmount } from '../../cli/demo/statements.js';
import { Tally } from '../../cli/demo/tally.js';
import { Comparison } from '../../cli/demo/verify.js';

/** A row as the driver gives it, with the migrated column as `bigint` (a string). */
function raw(id: number, order: Order): RawRow {
  return {
    id: String(id),
    customer: order.customer,
    amount: String(order.amount),
    note: order.note,
    updated_at: new Date(order.updatedAt ?? 0),
  };
}

const ORDER: Order = { customer: 1, amount: 5n, note: 'a', updatedAt: 1_000 };

t.test('the same seed gives the same load', async (t) => {
  const [a, b, c] = [new Random(7), new Random(7), new Random(8)];
  const draw = (random: Random) => Array.from({ length: 50 }, () => random.integer(0, 1_000));
  const first = draw(a);
  t.same(draw(b), first);
  t.notSame(draw(c), first);
  t.ok(Math.min(...first) >= 0 && Math.max(...first) <= 1_000);
  const endings = new Set(Array.from({ length: 500 }, () => nextOperation(a).ending));
  t.same([...endings].sort(), ['commit', 'rollback', 'script', 'single']);
  t.equal(statementCount({ ending: 'rollback', shapes: [sumOwn, sumOwn] }), 4);
});

t.test('a percentile is at most 2% above the truth, and the maximum is exact', async (t) => {
  const latency = new Latency();
  t.same(latency.summary(), { count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 });
  for (let i = 1; i <= 1_000; i++) latency.add(i / 10);
  const { count, p50Ms, p99Ms, maxMs } = latency.summary();
  t.equal(count, 1_000);
  t.ok(p50Ms >= 50 && p50Ms <= 51, `${p50Ms}`);
  t.ok(p99Ms >= 99 && p99Ms <= 100, `${p99Ms}`);
  t.equal(maxMs, 100);
  const one = new Latency();
  one.add(0.001);
  t.equal(one.percentile(0.99), 0.001);
});

t.test('what a pause has delayed is timed from when it was due', async (t) => {
  const pace = new Pace(10);
  t.same(pace.next(0, 1), { waitMs: 0, sinceMs: 0 });
  t.same(pace.next(2, 1), { waitMs: 8, sinceMs: 2 });
  t.same(pace.next(500, 2), { waitMs: 0, sinceMs: 20 }, 'the answer came half a second late');
  t.same(pace.next(501, 1), { waitMs: 0, sinceMs: 40 }, 'it had two statements');
  t.same(pace.next(60_000, 1), { waitMs: 0, sinceMs: 55_000 }, 'five seconds are the most');
  pace.reset();
  t.same(pace.next(70_000, 1), { waitMs: 0, sinceMs: 70_000 });
  t.same(new Pace(0).next(5, 1), { waitMs: 0, sinceMs: 5 });
});

t.test('a model follows commit and rollback, and knows its own rows only', async (t) => {
  const model = new Model(1, 4, 100);
  t.same(model.get(5), seededOrder(5));
  t.equal(model.get(6), null);
  t.notOk(model.knows(6));
  t.notOk(model.knows(101));
  model.begin();
  model.set(5, ORDER);
  model.set(5, null);
  t.equal(model.get(5), null);
  model.rollback();
  t.same(model.get(5), seededOrder(5));
  model.begin();
  model.set(9, null);
  model.commit();
  model.rollback();
  t.equal(model.get(9), null);
  const random = new Random(1);
  const picked = new Set(Array.from({ length: 500 }, () => model.pick(random)));
  picked.delete(undefined);
  t.equal(picked.size, 24, 'every row of its own but the one that is gone');
  t.equal(new Model(3, 4, 2).pick(random), undefined);
});

t.test('a row in doubt is either, until it is read', async (t) => {
  const fresh = () => {
    const model = new Model(1, 4, 100);
    model.begin();
    model.set(5, ORDER);
    model.doubt();
    return model;
  };
  const model = fresh();
  t.equal(model.firstDoubt(), 5);
  t.equal(model.doubtful, 1);
  t.equal(model.settle(5, raw(5, seededOrder(5))), undefined);
  t.same(model.get(5), seededOrder(5));
  t.equal(model.firstDoubt(), undefined);
  const other = fresh();
  t.equal(other.settle(5, raw(5, ORDER)), undefined);
  t.same(other.get(5), ORDER);
  t.match(fresh().settle(5, raw(5, { ...ORDER, amount: 6n })), /amount is 6, not 5/);
  t.equal(fresh().settle(5, undefined), 'the row is not there');
});

t.test('a comparison accepts either outcome of what is in doubt, and no third', async (t) => {
  const models = [new Model(0, 2, 2), new Model(1, 2, 2)];
  const [even, odd] = models as [Model, Model];
  even.begin();
  even.set(2, null);
  even.doubt();
  odd.lostInserts.push({ ...ORDER, note: 'w1 lost', updatedAt: null });
  const compare = (...rows: RawRow[]) => {
    const comparison = new Comparison(models);
    for (const row of rows) comparison.row(row);
    return comparison.end();
  };
  const first = raw(1, seededOrder(1));
  t.match(compare(first), { rowsChecked: 1, lost: 0, wrong: 0, doubtful: 2 });
  t.match(compare(first, raw(2, seededOrder(2))), { lost: 0, wrong: 0 });
  t.match(compare(first, raw(2, ORDER)), { lost: 0, wrong: 1 });
  const made = { ...ORDER, note: 'w1 lost' };
  t.match(compare(first, raw(3, made)), { lost: 0, wrong: 0 });
  t.match(compare(first, raw(3, made), raw(4, made)), { wrong: 1 }, 'it was made once');
  t.match(compare(first, raw(3, { ...made, amount: 6n })), { wrong: 1 });
  t.match(compare(), { rowsChecked: 0, lost: 1, samples: ['lost: row 1 is not there'] });
});

t.test('an answer is checked in its tag, its columns, its types and its rows', async (t) => {
  const statement = selectRow(5, ORDER);
  const columns = COLUMNS.map((name) => ({ name, type: name === 'amount' ? 23 : 0 }));
  const right: Reply = { command: 'SELECT', count: 1, columns, rows: [raw(5, ORDER)] };
  t.equal(complaint(statement, right), undefined);
  const wrong: [Partial<Reply>, RegExp][] = [
    [{ command: 'INSERT' }, /command tag is INSERT/],
    [{ columns: columns.slice(1) }, /columns are \(customer/],
    [{ columns: columns.toReversed() }, /columns are \(updated_at/],
    [{ columns: [...columns, { name: 'amount_new', type: 20 }] }, /amount_new/],
    [{ columns: columns.map((column) => ({ ...column, type: 25 })) }, /type 25/],
    [{ count: 2 }, /says 2 rows/],
    [{ rows: [] }, /there are 0 rows/],
    [{ rows: [raw(5, { ...ORDER, amount: 6n })] }, /amount is 6, not 5/],
    [{ rows: [raw(6, ORDER)] }, /id is 6, not 5/],
    [{ rows: [raw(5, { ...ORDER, note: null })] }, /note is null, not a/],
    [{ rows: [raw(5, { ...ORDER, updatedAt: 999 })] }, /updated_at is 999, not 1000/],
  ];
  for (const [change, message] of wrong) {
    t.match(complaint(statement, { ...right, ...change }), message);
  }
});

t.test('values are written into a text for the simple protocol', async (t) => {
  const model = new Model(1, 4, 100);
  const context = { model, random: new Random(3), now: () => 0 };
  const statement = updateAmount(context);
  t.match(inline(statement), /^UPDATE orders SET amount = amount \+ -?\d+ WHERE id = \d+$/);
  const { expects } = statement;
  const awkward = { ...statement, text: 'SELECT $1, $2, $10', values: ["it's $2", null], expects };
  t.equal(inline(awkward), `SELECT 'it''s $2', NULL, NULL`);
});

t.test('a tally keeps the first of each kind, and counts all', async (t) => {
  const tally = new Tally();
  for (let i = 0; i < 60; i++) {
    tally.failed(`message ${i}`, 'SELECT 1');
    tally.failed('message 0', 'SELECT 2');
    tally.complain({ worker: 0, shape: 's', protocol: 'p', complaint: String(i) });
  }
  const summary = tally.summary(1);
  t.equal(summary.errorCount, 120);
  t.equal(summary.errors.length, 51);
  t.same(summary.errors[0], { message: 'message 0', count: 61, sample: 'SELECT 1' });
  t.equal(summary.wrongCount, 60);
  t.equal(summary.wrong.length, 50);
  t.equal(summary.wrong[0]?.phase, 'before');
});
