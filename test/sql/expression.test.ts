import t from 'tap';
import { explainStatement } from '../../sql/explain.js';
import { ExpressionError, parseExpression, toTemplate } from '../../sql/expression.js';
import { loadParser } from '../../sql/rewriter.js';
import { printExpression } from '../../sql/rules.js';
import { readGolden } from './golden.js';

await loadParser();

t.test('one expression is parsed, and its columns are found', async (t) => {
  t.same(parseExpression(' lower(email) || \'@\' || Users."Domain" -- why\n'), {
    sql: 'lower(email) || \'@\' || Users."Domain"',
    columns: ['email', 'Domain'],
    references: [
      { table: null, name: 'email' },
      { table: 'users', name: 'Domain' },
    ],
  });
  t.same(parseExpression("ROW(größe, 'ä')").columns, ['größe']);
  t.same(parseExpression('(a).b').columns, ['a']);
  t.same(parseExpression('now()').columns, []);
});

t.test('anything else than one expression is refused, with what it is', async (t) => {
  const refused: [string, RegExp][] = [
    ['', /syntax error|not one expression/],
    ['a; DROP TABLE x', /not one expression/],
    ['a;', /syntax error|not one/],
    ['a FROM x', /not one expression/],
    ['a AS b', /not one expression/],
    ['a, b', /not one expression|several/],
    ['(a, b)', /several expressions/],
    ['a) + (b', /syntax error/],
    ['DISTINCT a', /not one expression/],
    ['ALL a', /syntax error/],
    ['a UNION SELECT b', /not one expression/],
    ['(SELECT 1)', /subquery/],
    ['EXISTS (SELECT 1)', /subquery/],
    ['ARRAY(SELECT 1)', /subquery/],
    ['$1', /parameter/],
    ['count(*)', /aggregate function "count"/],
    ['pg_catalog.max(a)', /aggregate function "max"/],
    ['f(DISTINCT a)', /aggregate function "f"/],
    ['rank() OVER (ORDER BY a)', /window function "rank"/],
    ['a.*', /not allowed/],
    ['*', /syntax error/],
    ['a.b.c.d', /too many qualifiers/],
    ['a\0b', /NUL/],
    ['a LIMIT 1', /not one expression/],
    ['a /* open', /syntax error|unterminated/],
  ];
  for (const [sql, message] of refused) {
    t.throws(() => parseExpression(sql), { constructor: ExpressionError, message }, sql);
  }
});

t.test('columns become holes, in any spelling, and nothing else does', async (t) => {
  const sql = "split_part(email, '@'::text, 2) || users.\"E mail\" || 'email' || (email)::text";
  const template = toTemplate(sql, ['email', 'E mail'], 'users');
  t.same(template, {
    texts: ['split_part(', ", '@'::text, 2) || ", " || 'email' || (", ')::text'],
    columns: ['email', 'E mail', 'email'],
  });
  t.equal(
    printExpression(template, () => '($1)'),
    "split_part(($1), '@'::text, 2) || ($1) || 'email' || (($1))::text",
  );
  t.same(toTemplate('größe + 1', ['größe']), { texts: ['', ' + 1'], columns: ['größe'] });
  t.same(toTemplate("'x'::text", []), { texts: ["'x'::text"], columns: [] });
  t.throws(() => toTemplate('other + 1', ['a']), {
    message: /"other" is not one of the columns a/,
  });
  t.throws(() => toTemplate('other.a', ['a'], 'users'), {
    message: /not one of the columns/,
  });
});

t.test('explain says of each statement what it becomes', async (t) => {
  const { table } = readGolden(
    '-- table: public.orders, guard: repair\n-- column: id integer\n-- column: n bigint, hidden\n' +
      '-- pair: n = (@id)::bigint\n',
  );
  const text = "INSERT INTO orders VALUES (1);\n-- ü\nDROP TABLE orders; SELECT 'orders'";
  const explained = explainStatement({ epoch: 1, tables: [table] }, text);
  t.match(explained, [
    { kind: 'insert', outcome: 'rewritten', tables: ['public.orders'], sent: /"n"/, refusal: null },
    {
      kind: 'drop',
      outcome: 'refused',
      reason: 'ddl',
      sent: null,
      text: 'DROP TABLE orders',
    },
    { kind: 'select', outcome: 'unchanged', tables: [], sent: "SELECT 'orders'" },
  ]);
});
