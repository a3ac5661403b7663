import t from 'tap';
import { Closing, StatementTable } from '../../proxy/statements.js';

const table = () => new StatementTable(1000);

t.test(
  'a statement is there when its Parse was answered, and found as soon as it was sent',
  async (t) => {
    const statements = table();
    const a = statements.make('s', 'SELECT 1', '', 0);
    statements.sent(a, 1);
    t.equal(statements.find('s'), a, 'for a Bind in the same pipeline');
    t.equal(statements.size, 0);
    statements.done(a);
    t.equal(statements.size, 1);
    t.equal(statements.find('s'), a);
  },
);

t.test('a Parse that was dropped or failed leaves what there was', async (t) => {
  const statements = table();
  const a = statements.make('s', 'SELECT 1', '', 0);
  statements.sent(a, 1);
  statements.done(a);
  const b = statements.make('s', 'SELECT 2', '', 0);
  statements.sent(b, 2);
  statements.undone(b, false);
  t.equal(statements.find('s'), a);
  const c = statements.make('s', 'SELECT 3', '', 0);
  statements.sent(c, 3);
  statements.undone(c, true);
  t.equal(statements.find('s'), a, 'the name was taken: the server keeps the first');
});

t.test('a failed Parse of the unnamed statement has cost it; a dropped one has not', async (t) => {
  const statements = table();
  const a = statements.make('', 'SELECT 1', '', 0);
  statements.sent(a, 1);
  statements.done(a);
  const b = statements.make('', 'SELECT', '', 0);
  statements.sent(b, 2);
  statements.undone(b, false);
  t.equal(statements.find(''), a);
  statements.sent(b, 3);
  statements.undone(b, true);
  t.equal(statements.find(''), undefined);
});

t.test(
  'a simple Query drops the unnamed statement, and DEALLOCATE ALL the named ones',
  async (t) => {
    const statements = table();
    for (const name of ['', 'a', 'b']) {
      const statement = statements.make(name, 'SELECT 1', '', 0);
      statements.sent(statement, 1);
      statements.done(statement);
    }
    statements.deallocatedAll();
    t.equal(statements.find('a'), undefined);
    t.ok(statements.find(''));
    statements.queried();
    t.equal(statements.find(''), undefined);
    t.equal(statements.bytes, 0);
  },
);

t.test(
  'changes go by the order of replies: what is parsed behind DEALLOCATE ALL stays',
  async (t) => {
    const statements = table();
    const old = statements.make('s', 'SELECT 1', '', 0);
    statements.sent(old, 1);
    statements.done(old);
    const fresh = statements.make('s', 'SELECT 2', '', 0);
    statements.sent(fresh, 3);
    statements.deallocatedAll();
    t.equal(statements.find('s'), fresh);
    statements.done(fresh);
    t.equal(statements.find('s'), fresh);
  },
);

t.test('Close takes effect when it is answered, and a dropped one never', async (t) => {
  const statements = table();
  const a = statements.make('s', 'SELECT 1', '', 0);
  statements.sent(a, 1);
  statements.done(a);
  const first = new Closing('s');
  statements.sent(first, 2);
  t.equal(statements.find('s'), undefined);
  statements.undone(first, false);
  t.equal(statements.find('s'), a);
  const second = new Closing('s');
  statements.sent(second, 3);
  statements.done(second);
  t.equal(statements.find('s'), undefined);
});

t.test('a name whose Parse is in flight in an earlier batch is not trusted', async (t) => {
  const statements = table();
  const a = statements.make('s', 'SELECT 1', '', 0);
  statements.sent(a, 5);
  t.equal(statements.isUnsure('s', 4), false, 'the same batch: if Parse fails, so does Bind');
  t.equal(statements.isUnsure('s', 6), true);
  statements.done(a);
  t.equal(statements.isUnsure('s', 6), false);
});

t.test('memory is bounded: the text of one too many is not kept', async (t) => {
  const statements = table();
  const text = 'x'.repeat(400);
  for (const name of ['a', 'b', 'c']) {
    const statement = statements.make(name, text, '', 0);
    statements.sent(statement, 1);
    statements.done(statement);
  }
  t.equal(statements.find('a')?.text, text);
  t.equal(statements.find('c')?.text, null);
});

t.test(
  'types for preparing again are the declared ones, and the learnt ones where 0',
  async (t) => {
    const int4 = '\0\0\0\x17';
    const text = '\0\0\0\x19';
    const statement = table().make('s', 'SELECT $1, $2, $3', `\0\0\0\0${text}`, 0);
    t.equal(statement.typesForReparse, `\0\0\0\0${text}`);
    statement.learnt = int4 + int4 + int4;
    t.equal(statement.typesForReparse, int4 + text + int4);
  },
);
