/** A column type, with what applications write into such a column, right and wrong. */
export interface Kind {
  type: string;
  /** Constants that it takes, as SQL. */
  values: string[];
  /** Expressions of all sorts; some are wrong, at parse or at run time. `@` is the column itself. */
  expressions: string[];
  /** Parameters, as text; some are wrong. */
  params: (string | null)[];
  /** A default that is not the same twice; absent: none is tried. */
  volatile?: string;
}

/** Statements that both databases begin with: types and functions that the kinds need. */
export const PREAMBLE = `
  CREATE EXTENSION citext;
  CREATE SEQUENCE ticket START 500;
  CREATE FUNCTION tick() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT nextval(''ticket'')::int';
  CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
  CREATE DOMAIN few AS integer[] CHECK (VALUE[1] > 0 AND cardinality(VALUE) < 5);
  CREATE DOMAIN code AS varchar(6) CHECK (VALUE <> 'bad');
  CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
  CREATE TYPE pair AS (x integer, y text);
  CREATE FUNCTION mood_text(mood) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$SELECT CASE $1 WHEN 'sad' THEN 'sad' WHEN 'ok' THEN 'ok' WHEN 'happy' THEN 'happy' END$$;
  CREATE FUNCTION text_mood(text) RETURNS mood LANGUAGE sql IMMUTABLE
    AS $$SELECT CASE WHEN $1 IN ('sad', 'ok', 'happy') THEN $1::public.mood END$$;
  CREATE FUNCTION ticket_uuid() RETURNS uuid LANGUAGE sql VOLATILE
    AS $$SELECT lpad(nextval('ticket')::text, 32, '0')::uuid$$;
`;

const integers = (type: string, values: string[], wide: string): Kind => ({
  type,
  values,
  expressions: [
    "'12'",
    '3 * 14',
    '2.6',
    '1.5::numeric',
    'abs(-20)',
    '@ + 1',
    '-(@)',
    'coalesce(@, 0)',
    wide,
    "'x'",
    'true',
    "'5'::text",
    "nextval('ticket')",
    'tick() + 1',
    '(SELECT max(n) + 40 FROM items)',
    '1 / 0',
    '(random() * 100)::int',
  ],
  params: ['31', '-8', '77', null, 'x', wide],
  volatile: "nextval('ticket')",
});

const texts = (type: string): Kind => ({
  type,
  values: ["'Abc'", "''", "E'a\\'B'", "'ä€'", "'x y'", 'NULL'],
  expressions: [
    "'much too long for it'",
    "'ab'::text",
    "upper('q') || 'X'",
    "@ || '!'",
    'lower(@)',
    "coalesce(@, 'Z')",
    '$$Dol$$',
    "U&'\\0041b'",
    "'a'\n'B'",
    '12',
    "'cut me'::varchar(3)",
    "nextval('ticket')",
    "tick()::text || 'T'",
    "'Pad  '::char(5)",
    '\'x\' COLLATE "C"',
    "CASE WHEN true THEN 'Yes' ELSE 'No' END",
    "(SELECT 's' || max(n) FROM items)",
    '1/0',
    'md5(random()::text)::varchar(4)',
    "B'101'",
  ],
  params: ['Par', 'é€𝄞', 'much too long for it', null, ''],
  volatile: "'t' || nextval('ticket')",
});

/** The types of source and shadow columns, by name. */
export const KINDS = {
  int2: integers('smallint', ['1', '-7', '300'], '99999'),
  int4: integers('integer', ['1', '-7', '2147483647', '0'], '99999999999'),
  int8: integers('bigint', ['1', '-7', '21474836470'], '99999999999999999999'),
  numeric: integers('numeric', ['1', '-7.25', '1e3', "'NaN'"], '1e200'),
  numeric62: integers('numeric(6,2)', ['1.005', '-7', '1234.5'], '123456'),
  numeric83: integers('numeric(8,3)', ['1.0005', '-7', '12345.6'], '12345678'),
  float4: integers('real', ['1', '-7.5', '1e10'], '1e300'),
  float8: integers('double precision', ['1', '-7.5', '1e100'], '1e300'),
  text: texts('text'),
  varchar8: texts('varchar(8)'),
  varchar20: texts('varchar(20)'),
  char4: texts('char(4)'),
  code: { ...texts('code'), params: ['Par', 'bad', null, 'longer than six'] },
  citext: { ...texts('citext') },
  positive: {
    type: 'positive',
    values: ['1', '7', '99', 'NULL'],
    expressions: ['5', '-5', "'6'", '2.5', '@ + 1', 'tick()', "'7'::positive", 'abs(-9)', "'x'"],
    params: ['4', '-4', null, 'z'],
    volatile: 'tick()',
  },
  mood: {
    type: 'mood',
    values: ["'sad'", "'ok'", 'NULL'],
    expressions: [
      "'happy'",
      "'mad'",
      "'ok'::mood",
      "'sad'::text",
      "(('sad'))",
      '5',
      '@',
      "CASE WHEN true THEN 'ok' END",
      "CASE WHEN tick() > 0 THEN 'ok'::mood END",
    ],
    params: ['happy', 'mad', null, 'sad'],
  },
  timestamp0: {
    type: 'timestamp(0)',
    values: ["'2024-01-02 03:04:05.6'", "'infinity'", "date '2024-05-06'", 'NULL'],
    expressions: [
      'current_date',
      "timestamp '2020-01-01' + interval '1 day'",
      "'2024-13-01'",
      "'2024-01-01 00:00:00+05'::timestamptz",
      "date_trunc('day', now())",
      "@ + interval '1.5 s'",
      "timestamp '2020-01-01' + tick() * interval '1 s'",
      '5',
      "date_trunc('month', now() AT TIME ZONE 'Europe/Paris')",
    ],
    params: ['2024-02-29 23:59:59.7', null, 'yesterday', 'never'],
    volatile: "'2020-01-01'::timestamp + tick() * interval '1 s'",
  },
  timestamptz: {
    type: 'timestamptz',
    values: ["'2024-01-02 03:04:05.6+02'", "'infinity'", 'NULL'],
    expressions: [
      'current_date',
      "timestamp '2020-01-01' + interval '1 day'",
      "'2024-13-01'",
      "date_trunc('day', now())",
      "@ + interval '1.5 s'",
      '5',
    ],
    params: ['2024-02-29 23:59:59.7+00', null, 'yesterday', 'never'],
  },
  date: {
    type: 'date',
    values: ["'2024-01-02'", "'-infinity'", 'NULL'],
    expressions: ['current_date', 'current_date + 1', '@ + 1', "'2024-02-30'", 'now()', "'x'", '7'],
    params: ['2024-02-29', null, 'today', 'never'],
  },
  ints: {
    type: 'integer[]',
    values: ["'{3,4}'", 'ARRAY[1, 2, 3]', 'ARRAY[]::integer[]', 'NULL'],
    expressions: ["'{x}'", 'array_append(@, 2)', "'{{1,2},{3,4}}'", 'ARRAY[tick()]', 'ARRAY[1.5]'],
    params: ['{5,6}', null, '{}', 'x'],
    volatile: 'ARRAY[tick(), 1]',
  },
  bigs: {
    type: 'bigint[]',
    values: ["'{3,4}'", 'ARRAY[1, 2, 3]', 'ARRAY[]::integer[]', 'NULL'],
    expressions: ["'{x}'", 'array_append(@, 2)', "'{30000000000}'", 'ARRAY[tick()]'],
    params: ['{5,6}', null, '{}', 'x'],
  },
  few: {
    type: 'few',
    values: ["'{3,4}'", 'ARRAY[1, 2, 3]', 'ARRAY[]::integer[]', 'NULL'],
    expressions: ["'{-3}'", 'array_append(@, 2)', "'{{1,2},{3,4}}'", 'ARRAY[tick()]', "'x'"],
    params: ['{5,6}', null, '{}', '{0}'],
  },
  positives: {
    type: 'positive[]',
    values: ["'{3,4}'", 'ARRAY[1, 2, 3]', 'ARRAY[]::positive[]', 'NULL'],
    expressions: ["'{0}'", 'array_append(@, 2)', "'{{1,2},{3,4}}'", 'ARRAY[tick()]', 'ARRAY[1.5]'],
    params: ['{5,6}', null, '{}', '{-1}'],
  },
  pair: {
    type: 'pair',
    values: ['\'(1,"a b")\'', "ROW(2, 'q')", 'NULL', "'(,)'"],
    expressions: ["ROW(1, 'x')::pair", "ROW(1, 'x', 3)", "'(1'", '@', "ROW(tick(), 'y')", '7'],
    params: ['(5,z)', null, '(x,y)'],
  },
  int4range: {
    type: 'int4range',
    values: ["'[1,5)'", "'(1,9]'", "'empty'", 'NULL'],
    expressions: ['int4range(1, 3)', '@ + int4range(1, 2)', "'[5,1]'", 'int4range(tick(), NULL)'],
    params: ['[2,4]', null, '(,)', 'x'],
  },
  int8range: {
    type: 'int8range',
    values: ["'[1,5)'", "'(1,9]'", "'empty'", 'NULL'],
    expressions: ['int8range(1, 3)', "'[5,1]'", 'int8range(tick(), NULL)'],
    params: ['[2,4]', null, '(,)', 'x'],
  },
  bool: {
    type: 'boolean',
    values: ['true', 'false', 'NULL', "'yes'"],
    expressions: ['1 = 1', 'NOT @', "'x'", '1', 'tick() > 0', '@ IS NULL', 'n > 3'],
    params: ['t', 'f', null, 'x'],
  },
  uuid: {
    type: 'uuid',
    values: ["'00000000-0000-0000-0000-000000000007'", 'NULL'],
    expressions: ["'x'", 'ticket_uuid()', '@', "md5('a')::uuid", "'7'"],
    params: ['a0000000-0000-0000-0000-000000000001', null, 'x'],
    volatile: 'ticket_uuid()',
  },
  jsonb: {
    type: 'jsonb',
    values: ['\'{"a": 1}\'', "'null'", "'[1,2]'", 'NULL'],
    expressions: [
      "'{'",
      "jsonb_build_object('k', 1)",
      '@',
      '\'{"t": 2}\'::json',
      'to_jsonb(tick())',
    ],
    params: ['{"p":[1]}', null, '{'],
  },
  bytea: {
    type: 'bytea',
    values: ["'\\x0102'", "'abc'", 'NULL'],
    expressions: [
      "'\\xzz'",
      "convert_to('é', 'UTF8')",
      "@ || '\\x00'",
      'decode(md5(tick()::text), $$hex$$)',
    ],
    params: ['\\x05', null, 'plain'],
  },
} satisfies Record<string, Kind>;

export type KindName = keyof typeof KINDS;

/** One change of a column; `@` is the column in `using` and `down`. */
export interface Change {
  from: KindName;
  to: KindName;
  using?: string;
  down?: string;
}

export const CHANGES: Change[] = [
  { from: 'int4', to: 'int8' },
  { from: 'int2', to: 'int4' },
  { from: 'int4', to: 'text' },
  { from: 'int8', to: 'numeric' },
  { from: 'numeric62', to: 'numeric' },
  { from: 'numeric62', to: 'numeric83', using: '@ * 2', down: '@ / 2' },
  { from: 'float4', to: 'float8' },
  { from: 'varchar8', to: 'text' },
  { from: 'varchar8', to: 'text', using: 'lower(@)', down: '@' },
  { from: 'varchar8', to: 'varchar20', using: "@ || '|' || n", down: "split_part(@, '|', 1)" },
  { from: 'char4', to: 'text', using: "@ || '|'", down: "rtrim(@, '|')" },
  { from: 'char4', to: 'varchar8' },
  { from: 'text', to: 'citext' },
  { from: 'citext', to: 'text', using: 'lower(@::text)', down: '@::citext' },
  { from: 'code', to: 'text' },
  { from: 'text', to: 'bytea', using: "convert_to(@, 'UTF8')", down: "convert_from(@, 'UTF8')" },
  { from: 'positive', to: 'int8' },
  { from: 'mood', to: 'text', using: 'mood_text(@)', down: 'text_mood(@)' },
  {
    from: 'timestamp0',
    to: 'timestamptz',
    using: "@ AT TIME ZONE 'UTC'",
    down: "@ AT TIME ZONE 'UTC'",
  },
  { from: 'date', to: 'timestamp0' },
  { from: 'ints', to: 'bigs' },
  { from: 'few', to: 'bigs' },
  { from: 'positives', to: 'ints' },
  { from: 'pair', to: 'text', using: '(@).y', down: 'ROW(0, @)::pair' },
  {
    from: 'int4range',
    to: 'int8range',
    using: 'int8range(lower(@), upper(@))',
    down: 'int4range(lower(@)::int, upper(@)::int)',
  },
  { from: 'bool', to: 'int4', using: 'CASE WHEN @ THEN 1 WHEN NOT @ THEN 0 END', down: '@ <> 0' },
  { from: 'uuid', to: 'text' },
  { from: 'text', to: 'varchar20', using: 'left(@, 20)', down: '@' },
  { from: 'int4', to: 'float8', using: '@ / 10.0', down: '(@ * 10)::int' },
];

/** Columns that are made from `@` (and of `n`, `note`, which every table has). */
export const DERIVED: { from: KindName; type: string; up: string; notNull?: boolean }[] = [
  { from: 'text', type: 'text', up: 'split_part(@, chr(64), 1)' },
  { from: 'int4', type: 'bigint', up: '@::bigint + coalesce(n, 0)' },
  { from: 'varchar8', type: 'varchar(4)', up: "left(@ || coalesce(note, '-'), 4)" },
  { from: 'numeric62', type: 'numeric(9,1)', up: 'round(@ * 1.5, 1)' },
  { from: 'char4', type: 'text', up: "upper(@) || '.'" },
  { from: 'jsonb', type: 'text', up: "@ ->> 'a'" },
  { from: 'ints', type: 'integer', up: 'cardinality(@)' },
  { from: 'mood', type: 'boolean', up: "mood_text(@) = 'happy'" },
  {
    from: 'date',
    type: 'integer',
    up: "CASE WHEN @ > '2000-01-01' THEN 1 ELSE 0 END",
    notNull: true,
  },
  { from: 'varchar20', type: 'varchar(30)', up: "coalesce(@, '?') || '!'", notNull: true },
];
