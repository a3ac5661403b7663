import t from 'tap';
import { type Item, Script } from './script.js';

function read(text: string, then: (script: Script, item: Item) => void = () => undefined): Item[] {
  const script = new Script(text, { one: '1' }, { HOME: '/home' });
  const items: Item[] = [];
  for (let item = script.next(); item; item = script.next()) {
    items.push(item);
    then(script, item);
  }
  return items;
}

const texts = (items: Item[]) => items.map((item) => (item.kind === 'statement' ? item.sql : item));

t.test('a script is cut where psql cuts it', async (t) => {
  const text = `-- ; not here
    SELECT ';', ";", $a$;$a$, E'\\';' /* ; /* ; */ ; */;
    CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2);
    CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;
    SELECT 1\\; SELECT 2;
    SELECT 3`;
  t.same(texts(read(text)).length, 5);
  t.match(texts(read(text))[0], /^-- ; not here\n\s+SELECT ';'.*\*\/ ; \*\/$/);
  t.equal(texts(read(text))[3], 'SELECT 1; SELECT 2');
});

t.test('rows of COPY belong to it', async (t) => {
  const [copy, next] = read('COPY t FROM stdin;\n1\t;\n\\N\n\\.\nSELECT 1;');
  t.match(copy, { sql: 'COPY t FROM stdin', data: '1\t;\n\\N\n' });
  t.match(next, { sql: 'SELECT 1', data: null });
});

t.test("variables, conditions and commands are psql's own", async (t) => {
  const text = `\\set two '2' :one
    \\set both 'a; b' ''''
    SELECT :one, :'two', :"two", a::int, b[1:two], :both;
    \\if :one
      \\getenv home HOME
    SELECT :'home';
    \\else
    SELECT 'not this';
    \\endif
    \\d t
    SELECT 7 AS seven \\gset my_
    SELECT :my_seven;
    SELECT $1 \\bind 5 \\g
    SELECT 'DROP TABLE t' \\gexec
    \\c - bob
    \\q
    SELECT 'nor this';`;
  const items = read(text, (script, item) => {
    if (item.kind === 'statement' && item.into !== null) script.variables.set('my_seven', '7');
  });
  t.same(texts(items), [
    `SELECT 1, '21', "21", a::int, b[121], a; b'`,
    `SELECT '/home'`,
    'SELECT 7 AS seven',
    'SELECT 7',
    'SELECT $1',
    `SELECT 'DROP TABLE t'`,
    { kind: 'connect', role: 'bob' },
  ]);
  t.match(items[2], { into: 'my_' });
  t.match(items[4], { bound: ['5'] });
  t.match(items[5], { executes: true });
});
