import type { ColumnRule, Guard, Pair, TableRule } from '../../sql/rules.js';

/*
 * The golden files in `cases/`: the rewriter's specification by example. At their top they say the
 * rules, then come the cases:
 *
 *   -- table: public.orders, guard: repair
 *   -- column: id integer, not null, volatile, default: nextval('s'::regclass)
 *   -- column: id_new bigint, hidden
 *   -- column: n public.positive, under integer
 *   -- pair: id_new = (@id)::bigint, back: id = (@id_new)::integer, every update
 *   -- partition: orders_1
 *   -- relation: "s"."x", 3
 *   -- relation: "x" column old, 0
 *
 *   --# What is to be seen here.
 *   INSERT ...
 *   --> rewritten
 *   INSERT ... as the server gets it; left out when it gets what the client sent
 *
 * After `--> refused reason` stands the message that the client gets.
 */

export interface GoldenCase {
  title: string;
  sent: string;
  /** `rewritten`, or `guarded reason` and so on; `untouched` when it touches no table. */
  verdict: string;
  expected: string;
}

export interface GoldenFile {
  table: TableRule;
  /** How many columns other relations have, by their names as they are written in SQL. */
  relations: [string, number][];
  header: string;
  cases: GoldenCase[];
}

export function readGolden(text: string): GoldenFile {
  const [header = '', ...parts] = text.split(/^--# /m);
  const cases = parts.map((part) => {
    const [head = '', result = ''] = part.split(/^--> ?/m);
    const [title = '', ...sent] = head.split('\n');
    const [verdict = '', ...expected] = result.split('\n');
    const text = sent.join('\n').trim();
    return { title, sent: text, verdict, expected: expected.join('\n').trim() || text };
  });
  const relations = [...header.matchAll(/^-- relation: (.*), (\d+)$/gm)].map(
    ([, name, width]): [string, number] => [name!, Number(width)],
  );
  return { table: readTable(header), relations, header, cases };
}

export function printGolden(header: string, cases: readonly GoldenCase[]): string {
  const parts = cases.map(({ title, sent, verdict, expected }) => {
    const result = expected === sent ? '' : `${expected}\n`;
    return `--# ${title}\n${sent}\n--> ${verdict}\n${result}`;
  });
  return `${header.trimEnd()}\n\n${parts.join('\n')}`;
}

function readTable(header: string): TableRule {
  const table: TableRule = {
    oid: 4711,
    schema: 'public',
    name: '',
    version: 1,
    held: false,
    guard: 'repair',
    columns: [],
    visible: [],
    pairs: [],
  };
  for (const [, kind, rest = ''] of header.matchAll(/^-- (table|column|pair|partition): (.*)$/gm)) {
    if (kind === 'table') {
      const [, schema, name, guard] = rest.match(/^(\w+)\.(.+), guard: (\w+)$/) ?? [];
      Object.assign(table, { schema, name, guard: guard as Guard });
    } else if (kind === 'column') {
      const { column, hidden } = readColumn(rest);
      table.columns.push(column);
      if (!hidden) table.visible.push(column.name);
    } else if (kind === 'partition') {
      table.parts = [...(table.parts ?? []), { oid: 4712, schema: 'public', name: rest }];
    } else table.pairs.push(readPair(rest));
  }
  const order = header.match(/^-- visible: (.*)$/m)?.[1];
  if (order) table.visible = order.split(', ');
  return table;
}

function readColumn(text: string): { column: ColumnRule; hidden: boolean } {
  const [declaration = '', fallback = null] = text.split(', default: ');
  const [first = '', ...words] = declaration.split(/, (?!\d)/);
  const [, name = '', type = ''] = first.match(/^("[^"]+"|\S+) (.*)$/) ?? [];
  const under = words.find((word) => word.startsWith('under '))?.slice(6);
  const identity = words.find((word) => word.startsWith('identity '))?.slice(9);
  const column: ColumnRule = {
    name: name.replaceAll('"', ''),
    type,
    baseType: type.replace(/\(.*?\)/, ''),
    ...(under !== undefined && { under }),
    notNull: words.includes('not null'),
    identity: (identity ?? null) as ColumnRule['identity'],
    generated: words.includes('generated'),
    default: fallback,
    defaultVolatile: words.includes('volatile'),
  };
  return { column, hidden: words.includes('hidden') };
}

function readPair(text: string): Pair {
  const everyUpdate = text.endsWith(', every update');
  const [head = '', back] = text.replace(/, every update$/, '').split(', back: ');
  const [follow = '', forward = ''] = split(head);
  const [lead = '', value = ''] = split(back ?? '');
  return {
    name: `change of ${follow}`,
    follow,
    forward: template(forward),
    backward: back === undefined ? null : { lead, value: template(value) },
    everyUpdate,
  };
}

function split(text: string): string[] {
  const at = text.indexOf(' = ');
  return [text.slice(0, at), text.slice(at + 3)];
}

function template(text: string): { texts: string[]; columns: string[] } {
  return {
    texts: text.split(/@[\w\x80-\uffff]+/),
    columns: [...text.matchAll(/@([\w\x80-\uffff]+)/g)].map((match) => match[1]!),
  };
}
