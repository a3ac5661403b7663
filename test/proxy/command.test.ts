import t from 'tap';
import { executedNames, isReturning, leads, readCommand } from '../../proxy/command.js';
import { isPlainTag, SchemaWatch, tagMatters } from '../../proxy/schema.js';

const looks = (text: string) => leads(Buffer.from(`${text}\0`), 0, Buffer.byteLength(text));
const read = (text: string) => readCommand(Buffer.from(text).toString('latin1'), true);

t.test('the first letters tell what need not be read', async (t) => {
  for (const text of [
    'SELECT 1; EXECUTE x',
    'insert into t values (1)',
    'UPDATE t SET a = 1',
    'DELETE FROM t',
    'DECLARE c CURSOR FOR SELECT 1',
    'DISCARD ALL',
    'END',
    'BEGIN',
    'COMMIT',
    'COPY t FROM STDIN',
    'CALL p()',
    'ANALYZE',
    '/* EXECUTE */ -- PREPARE\n select 1',
    '/* a /* EXECUTE */ */ with x as (select 1) table x',
    '(SELECT 1)',
  ]) {
    t.notOk(looks(text), text);
  }
  for (const text of [
    'PREPARE x AS SELECT 1',
    ' \n\t/* a /* b */ c */ -- d\r\n eXeCuTe x',
    'EXPLAIN SELECT 1',
    'DEALLOCATE x',
    'ALTER TABLE t ADD a int',
    'CREATE VIEW v AS SELECT 1',
    'DROP TABLE t',
    'DO $$ $$',
    '',
    'X',
    '/* not at its end',
    'EX',
  ]) {
    t.ok(looks(text), text);
  }
  t.ok(leads(Buffer.from('/* SELECT'), 0, 5), 'only a part is here');
});

t.test('a PREPARE is read: its name, and where its statement begins', async (t) => {
  const cases: [string, { name: string; prefix: string; body: string } | null][] = [
    ['PREPARE X AS SELECT 1', { name: 'x', prefix: 'PREPARE X AS ', body: 'SELECT 1' }],
    [
      `/*a*/prepare "X ""y" ( numeric(3, 2) , "a)b" ) As/**/select ';' ; ;`,
      {
        name: 'X "y',
        prefix: `/*a*/prepare "X ""y" ( numeric(3, 2) , "a)b" ) As/**/`,
        body: `select ';' `,
      },
    ],
    ['PREPARE as AS SELECT 1', { name: 'as', prefix: 'PREPARE as AS ', body: 'SELECT 1' }],
    ["PREPARE TRANSACTION 'x'", null],
    ['PREPARE x AS SELECT 1; SELECT 2', null],
    ['PREPARE x AS', null],
    ['PREPARE x', null],
    ['PREPARE x (int', null],
    ['PREPARE é AS SELECT 1', null],
    ['PREPARE U&"\\0061" AS SELECT 1', null],
    [`PREPARE ${'x'.repeat(64)} AS SELECT 1`, null],
  ];
  for (const [text, expected] of cases) t.same(read(text)?.prepares ?? null, expected, text);
  t.equal(readCommand('PREPARE x AS SELECT 1', false), null, 'an encoding that cannot be read');
});

t.test('EXECUTE and DEALLOCATE name what they mean', async (t) => {
  const executes = (text: string) => read(text)?.executes;
  t.same(executes('EXECUTE Foo(1)'), ['foo']);
  t.same(executes('execute/* x */"A ""b"(1)'), ['A "b']);
  t.same(executes('EXPLAIN (ANALYZE, BUFFERS) EXECUTE a'), ['a']);
  t.same(executes('explain analyze verbose execute a'), ['a']);
  t.equal(executes("EXPLAIN SELECT 'execute a'"), undefined);
  t.same(executes('CREATE TABLE t AS EXECUTE a'), ['a']);
  t.same(executes('CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()'), []);
  t.same(executedNames('BEGIN; EXECUTE a; execute "B"(2); COMMIT'), ['a', 'B']);
  t.equal(read('EXECUTE a; ')?.isExecute, true);
  t.equal(read('EXECUTE a; EXECUTE b')?.isExecute, false);
  t.equal(read('DEALLOCATE A')?.deallocates, 'a');
  t.equal(read('DEALLOCATE PREPARE "A";')?.deallocates, 'A');
  t.equal(read('DEALLOCATE prepare')?.deallocates, 'prepare');
  t.equal(read('DEALLOCATE ALL'), null);
  t.equal(read('DEALLOCATE PREPARE ALL'), null);
  t.equal(read('DEALLOCATE "all"')?.deallocates, 'all');
  t.equal(read('DEALLOCATE a; PREPARE a AS SELECT 1'), null);
});

t.test('what may alter, and what gives rows', async (t) => {
  t.match(read('create local temporary table x as execute q'), {
    alters: true,
    temporary: true,
    executes: ['q'],
  });
  t.match(read('DROP TABLE x'), { alters: true, temporary: false });
  t.notOk(isReturning('INSERT INTO t VALUES (1)'));
  t.ok(isReturning('INSERT INTO t VALUES (1) RETURNING *'));
  t.ok(isReturning('SELECT 1'));
  t.ok(isReturning('WITH x AS (SELECT 1) INSERT INTO t TABLE x'));
});

t.test('tags that are read, and those that go by', async (t) => {
  const matters = (tag: string, changed = false) => tagMatters(Buffer.from(`${tag}\0`), 0, changed);
  const names = ['ALTER TABLE', 'CREATE VIEW', 'DROP TABLE', 'DO', 'DEALLOCATE', 'DISCARD ALL'];
  for (const tag of [...names, 'DECLARE CURSOR', 'PREPARE', 'COMMIT PREPARED']) {
    t.ok(matters(tag), tag);
  }
  for (const tag of ['SELECT 1', 'INSERT 0 1', 'UPDATE 3', 'DELETE 1', 'COMMIT', 'BEGIN', 'CALL']) {
    t.notOk(matters(tag), tag);
  }
  t.notOk(matters('COPY 5'));
  t.notOk(matters('ROLLBACK'));
  t.ok(matters('ROLLBACK', true), 'when something was changed before');
});

/** Every tag of src/include/tcop/cmdtaglist.h that begins with a letter of a plain one. */
const TAGS = `DEALLOCATE;DEALLOCATE ALL;DECLARE CURSOR;DELETE 1;DISCARD;DISCARD ALL;DISCARD PLANS;
  DISCARD SEQUENCES;DISCARD TEMP;DO;DROP ACCESS METHOD;DROP TABLE;IMPORT FOREIGN SCHEMA;INSERT 0 1;
  SAVEPOINT;SECURITY LABEL;SELECT 1;SELECT INTO;SET;SET CONSTRAINTS;SHOW;START TRANSACTION;
  UNLISTEN;UPDATE 1`;

t.test('tags of queries and writes are told from all others by their first letters', (t) => {
  const plain = (tag: string) => isPlainTag(Buffer.from(`${tag}\0`), 0);
  for (const tag of TAGS.split(/;\s*/)) {
    t.equal(plain(tag), /^(SELECT|INSERT|UPDATE|DELETE)/.test(tag), tag);
  }
  for (const tag of ['', 'BEGIN', 'COMMIT', 'ALTER TABLE', 'CREATE TABLE']) t.notOk(plain(tag));
  t.end();
});

t.test(
  'a change is told to the others at the end of its transaction, before its client',
  async (t) => {
    const IDLE = 'I'.charCodeAt(0);
    const shared = { schema: 0 };
    const one = new SchemaWatch(shared);
    const other = new SchemaWatch(shared);
    one.tagged('ALTER TABLE');
    t.equal(one.version, 1, 'itself sees it at once');
    t.equal(other.version, 0);
    one.ready('T'.charCodeAt(0), true);
    t.equal(other.version, 0);
    one.ready(IDLE, true);
    t.equal(other.version, 1);
    one.tagged('CREATE TABLE');
    one.ready(IDLE, true);
    one.tagged('ALTER ROLE');
    one.tagged('ALTER INDEX');
    one.tagged('DROP TRIGGER');
    one.ready(IDLE, true);
    t.equal(other.version, 1, 'what is of no interest to others');
    one.sent(true);
    one.tagged('DROP TABLE');
    one.ready(IDLE, true);
    t.equal(other.version, 1, 'who makes temporary tables drops them');
    one.tagged('ALTER TABLE');
    one.gone();
    t.equal(other.version, 2, 'a commit that may have gone through untold');
  },
);
