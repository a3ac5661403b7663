import t from 'tap';
import type { CopyRows } from '../../sql/copy-rows.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import { readGolden } from './golden.js';

/* What is done to the rows of COPY: the part of a rewrite that is not in its text. */

const { table } = readGolden(`-- table: public.orders, guard: none
-- column: id integer, default: 7
-- column: v character varying(9), default: 'a"\\é'::character varying
-- column: j json
-- column: big bigint
-- column: id_new bigint, hidden
-- column: v_new character varying(9), hidden
-- column: j_new jsonb, hidden
-- column: small integer, hidden
-- column: id_text text, hidden
-- column: flag boolean, default: true
-- column: flag_text text, hidden
-- pair: id_new = @id
-- pair: v_new = @v
-- pair: j_new = (@j)::jsonb
-- pair: small = CASE WHEN @big BETWEEN -2147483648 AND 2147483647 THEN @big::integer END
-- pair: id_text = (@id)::text
-- pair: flag_text = (@flag)::text
`);

await loadParser();
const rewriter = makeRewriter({ epoch: 1, tables: [table] });

function copies(text: string): readonly (CopyRows | null)[] {
  return rewriter.rewrite(Buffer.from(text), new Map([['orders', 4711]]), true).copies ?? [];
}

/** `true`, as a boolean is printed. */
const TRUE = '\\164\\162\\165\\145';
const bytes = (text: string) => Buffer.from(text).toString('latin1');

t.test('where each added field comes from', async (t) => {
  const [rows] = copies("COPY orders (big, v, id) FROM STDIN (FORMAT csv, QUOTE '#', NULL 'x')");
  t.match(rows, { format: 'csv', delimiter: ',', quote: '#', escapeBy: '#', nullText: 'x' });
  t.match(rows, { fields: 3, header: 'none', defaultText: null, table: 'orders' });
  const from = rows?.added.map(({ column, from, integer, printed }) => [
    column,
    from,
    integer ?? printed,
  ]);
  t.same(from, [
    ['id_new', 2, { from: 4, to: 8 }],
    ['v_new', 1, null],
    ['small', 0, { from: 8, to: 4 }],
    ['id_text', 2, { kind: 'integer', limit: null }],
    ['flag_text', null, null],
  ]);
  t.equal(rows?.unsure, '\0', 'no guard repairs it');
});

t.test('a default that is a constant, as the data has it', async (t) => {
  const constants = (text: string) => copies(text)[0]?.added.map(({ constant }) => constant);
  const csv = constants('COPY orders (j) FROM STDIN (FORMAT csv)');
  t.same(csv, ['"7"', bytes('"a""\\é"'), '', '"7"', '"true"']);
  const text = constants('COPY orders (j) FROM STDIN');
  t.same(text, ['\\067', bytes('\\141\\042\\134é'), '', '\\067', TRUE]);
  const marked = constants("COPY orders (id, v, j) FROM STDIN (DEFAULT 'D', NULL 'none')");
  t.same(
    marked,
    ['\\067', bytes('\\141\\042\\134é'), 'none', '\\067', TRUE],
    'NULL is a default as well',
  );
  t.same(
    constants("COPY orders (id, v) FROM STDIN (FORMAT csv, DEFAULT 'D', ENCODING 'latin1')"),
    undefined,
    'the data is not in the encoding of the rules',
  );
});

t.test('one for each COPY FROM STDIN of a text, in order', async (t) => {
  const several = copies(`COPY other FROM STDIN; COPY orders FROM STDIN; COPY orders TO STDOUT;
    COPY orders FROM STDIN WITH (HEADER match); COPY other FROM '/dev/null'`);
  t.same(
    several.map((rows) => rows?.header ?? null),
    [null, 'none', 'match'],
  );
});

t.test('texts that differ in what they say of the data have rows of their own', async (t) => {
  for (const delimiter of [';', ',', '|', '!']) {
    const [rows] = copies(`COPY orders FROM STDIN (DELIMITER '${delimiter}')`);
    t.equal(rows?.delimiter, delimiter);
  }
});
