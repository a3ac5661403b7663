import t from 'tap';
import { makeRewriter } from '../../sql/rewriter.js';
import type { ColumnRule, Pair, RuleSet } from '../../sql/rules.js';
import { column, openTables, RESOLUTION, rulesOf, see } from './tandem.js';

/*
 * Parts of columns that are of a domain over an array, or arrays of a domain: each statement on a plain table
 * and, rewritten, on one under migration that has no guard. Each has to be told the same, and to leave the
 * same, and every other column has to be what it is made from.
 *
 * | broken                                                    | seen by                                 |
 * | --------------------------------------------------------- | --------------------------------------- |
 * | an array that begins with NULL begins with the domain's   | words[1] of a new row                   |
 * | one of several dimensions is put together                 | less[1] of '{{1,2},{3,4}}', by the other name |
 * | the elements are not those of the domain                  | marks[2] = 100                          |
 * | the elements of a domain over an array of domains are put together | most[3], which leaves a gap    |
 */

const UNDER: Readonly<Record<string, [type: string, under: string]>> = {
  less: ['shared.few', 'integer[]'],
  words: ['shared.words', 'character varying(3)[]'],
  marks: ['shared.small[]', 'integer[]'],
  most: ['shared.smalls', 'shared.small[]'],
};

const NAMES = Object.keys(UNDER);
const DEFAULT = "'{q}'";

const VALUES: Readonly<Record<string, readonly (string | null)[]>> = {
  less: [null, '{}', '{1,2,3}', '[0:1]={1,NULL}', '[-3:-2]={7,8}', '{{1,2},{3,4}}'],
  words: ['{a}', '{a,NULL,xyz}', '[0:1]={NULL,b}'],
  marks: [null, '{}', '{1,2}', '[5:5]={99}', '{{1},{2}}'],
  most: [null, '{1,2}'],
};

const SETS = [
  ...['less[1] = 5', "less[2] = '6', less[1] = less[2]", 'less[4] = 5', 'less[-4] = 5'],
  ...['less[0] = NULL', "less[1] = 'x'", 'less[1] = 2.5', 'less[1] = true', 'less[NULL] = 1'],
  ...['less[1:2] = ARRAY[8, 9]', 'less[1][1] = 1', 'less[id] = 5', 'less[2] = id + 1'],
  ...["words[1] = 'z'", "words[2] = 'abcd'", "words[2] = 'ab   '", 'words[1] = NULL'],
  ...["words[3] = 'c', words[1] = words[3]", 'words[9] = 5'],
  ...['marks[2] = 99', 'marks[2] = 100', 'marks[4] = 7', 'marks[1] = NULL', "marks[1] = '7'"],
  ...['marks[1] = marks[2] + 1, marks[3] = 1', 'marks[1:1] = ARRAY[5]', 'marks[0] = 2.4'],
  ...['most[1] = 5', 'most[3] = 5'],
];

const INSERTS = [
  ...["(words[1]) VALUES ('a')", "(words[2], words[1]) VALUES ('b', 'a'), ('c', 'd')"],
  ...[
    "(words[2]) VALUES ('b')",
    '(less[2], less[4]) VALUES (1, 2)',
    '(less[1]) VALUES (1), (NULL)',
  ],
  ...['(less[1], less[5]) VALUES (1, 2)', '(marks[2], marks[5]) VALUES (1, 2)'],
  ...['(marks[1]) VALUES (100)', '(marks[1]) SELECT n FROM generate_series(98, 99) AS n'],
  ...["(words[1], less[1]) SELECT 'a', 5", '(most[1]) VALUES (5)'],
];

interface Follow {
  name: string;
  lead: string;
  type: string;
  text: boolean;
}

/** @param after the client's columns are the new ones, and those before them follow. */
function followsOf(after: boolean): Follow[] {
  return NAMES.flatMap((lead) => {
    const [type] = UNDER[lead]!;
    const text = { name: `${lead}_text`, lead, type: 'text', text: true };
    const same = { name: `${lead}_new`, lead, type, text: false };
    // Its NULL is refused, so no column of it can be added to rows.
    if (lead === 'words') return after ? [] : [text];
    return after ? [same] : [text, same];
  });
}

const known = (name: string): Partial<ColumnRule> => {
  const under = UNDER[name.replace(/_new$/, '')]?.[1];
  return under === undefined ? {} : { under };
};

function rules(follows: readonly Follow[]): RuleSet {
  const pairs = follows.map(({ name, lead, text }): Pair => {
    const bare = { texts: ['', ''], columns: [lead] };
    const forward = text ? { texts: ['(', ')::text'], columns: [lead] } : bare;
    const backward = text ? null : { lead, value: { texts: ['', ''], columns: [name] } };
    return { name, follow: name, forward, backward, everyUpdate: true };
  });
  const own = NAMES.map((name) => ({
    ...column(name, UNDER[name]![0], name === 'words' ? DEFAULT : null),
    ...known(name),
  }));
  const added = follows.map(({ name, type, text }) => ({
    ...column(name, type),
    ...(text ? {} : known(name)),
  }));
  return rulesOf([column('id', 'integer'), ...own], added, pairs, 'none');
}

for (const major of [14, 18]) {
  for (const after of [false, true]) {
    const when = after ? 'by names that are added last' : 'by their own names';
    t.test(`parts of domains, ${when}, PostgreSQL ${major}`, async (t) => {
      const follows = followsOf(after);
      const given = (name: string) => `${name} ${UNDER[name]![0]}`;
      const list = NAMES.map((name) =>
        name === 'words' ? `${given(name)} DEFAULT ${DEFAULT}` : given(name),
      );
      const added = follows.map(({ name, type }) => `${name} ${type}`);
      const db = await openTables(t, major, ['id integer DEFAULT 1', ...list].join(), added);
      // What follows stands before what leads then, and is assigned first.
      const swap = follows.map(
        ({ name, lead }) => `ALTER TABLE tandem.orders RENAME ${lead} TO gone;
          ALTER TABLE tandem.orders RENAME ${name} TO ${lead};
          ALTER TABLE tandem.orders RENAME gone TO ${name};`,
      );
      if (after) await db.query(swap.join(''));
      const rewriter = makeRewriter(rules(follows));
      const all = ['id', ...NAMES].join();
      const wrong = follows.map(({ name, lead, text }) => {
        const same = `ROW(${name})::text = ROW(${text ? `${lead}::text` : lead})::text`;
        return `CASE WHEN ${same} THEN '' ELSE ' ${name}: ' || ROW(${name})::text END`;
      });
      const look = `SELECT ROW(${all})::text FROM orders`;
      const lookAtBoth = `SELECT ROW(${all})::text || ${wrong.join(' || ')} FROM orders`;
      let written = 0;
      const compare = async (text: string, before = '') => {
        const rewrite = rewriter.rewrite(Buffer.from(text), RESOLUTION, true);
        const expected = await see(db, 'plain', { before, text, look });
        if (rewrite.outcome === 'refused') return rewrite.reason;
        const sent = rewrite.text.toString();
        const seen = await see(db, 'tandem', { before, text: sent, look: lookAtBoth });
        t.same(seen, expected, `${before} ${text}`);
        if ('left' in expected) written++;
        return null;
      };
      const refused: string[] = [];
      for (const set of SETS) {
        const column = /^\w+/.exec(set)![0];
        for (const value of VALUES[column]!) {
          const literal = value === null ? 'NULL' : `'${value}'`;
          const before = `INSERT INTO orders (id, ${column}) VALUES (1, ${literal});`;
          if (await compare(`UPDATE orders SET ${set}`, before)) refused.push(set);
        }
      }
      for (const insert of INSERTS) {
        if (await compare(`INSERT INTO orders ${insert}`)) refused.push(insert);
      }
      t.ok(written > 30, `${written} wrote something`);
      const left = /^(less\[(NULL|1\] = true|1:2|1\]\[1|id)|marks\[1:1|most|\(most)/;
      t.same(
        [...new Set(refused)].filter((text) => !left.test(text)),
        [],
      );
      t.ok(refused.includes('most[1] = 5'), 'of domains within a domain only the server knows');
    });
  }
}
