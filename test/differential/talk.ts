import { OUTSIDER } from './family.js';
import { KINDS } from './kinds.js';
import { query } from './reads.js';
import type { Param, Sql, Words } from './words.js';
import { Writes } from './writes.js';

/** One statement, and how it is sent. */
export interface Call extends Sql {
  mode: 'simple' | 'extended' | 'named';
  /** The name under which it is prepared (named). */
  name: string;
  /** Whether the types of its parameters are said. */
  declared: boolean;
  binaryParams: boolean;
  binaryResults: boolean;
  describe: 'none' | 'statement' | 'portal';
  /** Rows that are asked for at once; 0: all. */
  limit: number;
  /** Rows of COPY FROM STDIN; in binary each field with its type. */
  copy?: string | Param[][];
  /** Whether its rows come in a certain order. */
  ordered: boolean;
  /** Its rows are not compared (plans). */
  rowless?: boolean;
  /** How a column is called in it, and how where it was not renamed. */
  alias?: { from: string; to: string };
  /** Its text is sent in LATIN1. */
  latin?: boolean;
  /** It writes in ways that no proxy sees, so that a guard may have to do something. */
  blind?: boolean;
}

/** Calls that are sent together: several simple queries, or one batch up to its Sync. */
export type Step = Call[];

const SIMPLE = {
  params: [],
  mode: 'simple',
  name: '',
  declared: false,
  binaryParams: false,
  binaryResults: false,
  describe: 'none',
  limit: 0,
  ordered: true,
} as const;

/** A call by the simple protocol. */
export const simple = (text: string): Call => ({ ...SIMPLE, params: [], text });

const OWN_TYPES: ReadonlySet<string> = new Set(['citext', 'code', 'positive', 'mood', 'pair']);

/** What a client says in a session: random steps. */
export class Talk {
  private readonly writes: Writes;
  /** What was prepared by the protocol. */
  known: Call[] = [];
  /** The last number of a name that was given. */
  count = 0;
  private sql: string[] = [];

  /** @param before what was said in the same session in an earlier stage, if it lives on. */
  constructor(
    private readonly w: Words,
    private readonly before?: Pick<Talk, 'known' | 'count'>,
  ) {
    this.writes = new Writes(w);
    this.known = [...(before?.known ?? [])];
    this.count = before?.count ?? 0;
  }

  next(): Step {
    const { random } = this.w;
    const share = random.next();
    if (share < 0.12) return [this.transaction()];
    if (share < 0.24) return this.special();
    if (share < 0.36) {
      const mode = random.chance(0.7) ? 'extended' : 'simple';
      return Array.from({ length: 2 + random.below(3) }, () => this.call(mode));
    }
    return [this.call(random.pick(['simple', 'extended', 'extended', 'named', 'named']))];
  }

  private statement(): Sql & Pick<Call, 'ordered' | 'alias'> & { isRead: boolean } {
    const { w } = this;
    w.begin();
    const share = w.random.next();
    let ordered = false;
    let text = '';
    const isRead = share >= 0.8;
    if (share < 0.72) text = this.writes.any();
    else if (share < 0.8) text = this.writes.nested();
    else ({ text, ordered } = query(w));
    const alias = w.aliased && { alias: { from: w.view.alias!, to: w.view.lead } };
    return { text, params: w.params, ordered, isRead, ...alias };
  }

  private call(mode: Call['mode']): Call {
    const { random } = this.w;
    if (mode === 'named' && this.known.length > 0 && random.chance(0.6)) {
      const known = random.pick(this.known);
      const params = known.params.map((param) => this.again(param));
      // What was said in binary before a change of type has the old type, here and there.
      return { ...known, params, binaryParams: !this.before && random.chance(0.4) };
    }
    const { isRead, ...statement } = this.statement();
    // A whole row in binary has the oids of its fields' types, which differ between two databases.
    const hasOids = isRead && OWN_TYPES.has(this.w.view.kind);
    if (mode === 'simple') {
      const text = inline(statement);
      const end = random.chance(0.05) ? ';' : '';
      return { ...SIMPLE, ...statement, text: `${text}${end}`, params: [] };
    }
    const call: Call = {
      ...statement,
      mode,
      name: mode === 'named' ? `s${++this.count}` : '',
      declared: !this.w.shared && random.chance(0.3),
      binaryParams: random.chance(0.35),
      binaryResults: random.chance(0.3) && !hasOids,
      describe: random.pick(['none', 'statement', 'portal', 'portal']),
      limit: statement.ordered && random.chance(0.3) ? 2 : 0,
    };
    if (mode === 'named' && this.before) {
      // A client that was told types goes on with them; docs/limits.md says how.
      const plain = { declared: false, binaryParams: false, binaryResults: false } as const;
      Object.assign(call, plain, { describe: call.describe === 'none' ? 'none' : 'portal' });
    }
    if (mode === 'named') this.known.push(call);
    return call;
  }

  /** Another value for a parameter of a statement that is used again. */
  private again(param: Param): Param {
    const { random, view } = this.w;
    const lead = this.w.column('lead')!;
    if (param.type === lead.type && param.type !== 'int') {
      return { ...param, value: random.pick<string | null>(KINDS[view.kind].params) };
    }
    const isNumber = /^(int|bigint|integer)$/.test(param.type);
    return isNumber ? { ...param, value: String(1 + random.below(160)) } : param;
  }

  private transaction(): Call {
    const { random } = this.w;
    return simple(
      random.pick([
        'BEGIN',
        'BEGIN',
        'BEGIN ISOLATION LEVEL REPEATABLE READ',
        'COMMIT',
        'COMMIT',
        'ROLLBACK',
        'SAVEPOINT a',
        'SAVEPOINT b',
        'ROLLBACK TO a',
        'ROLLBACK TO b',
        'RELEASE a',
      ]),
    );
  }

  /** What is not one plain statement. */
  private special(): Step {
    const { w } = this;
    const { random } = w;
    w.begin();
    w.bind = false;
    w.aliased = false;
    const t = w.table();
    return random.pick<() => Step>([
      () => [unordered(simple(`${this.plain()}; ${this.plain()}`))],
      () => [unordered(simple(`BEGIN; ${this.plain()}; SELECT * FROM ${t} ORDER BY id; COMMIT`))],
      () => this.sqlPrepare(),
      () => this.sqlPrepare(),
      () => this.cursor(),
      () => this.copyIn(),
      () => this.copyIn(),
      () => [simple(`COPY ${t} TO STDOUT${random.pick(['', ' CSV HEADER', ''])}`)].map(unordered),
      () => [simple(`COPY (SELECT * FROM ${t} ORDER BY id) TO STDOUT`)],
      () => [{ ...simple(`EXPLAIN (COSTS off) ${this.plain()}`), rowless: true }],
      () => [
        {
          ...simple(`EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) ${this.plain()}`),
          rowless: true,
        },
      ],
      () => this.blind(),
      () => [
        simple(`CREATE TEMP TABLE made_${++this.count} AS SELECT * FROM ${t}`),
        simple(`SELECT * FROM made_${this.count} ORDER BY id`),
      ],
      () => [
        simple(`SELECT * INTO TEMP made_${++this.count} FROM ${t}`),
        simple(`TABLE made_${this.count} ORDER BY id`),
      ],
      () => this.shadowed(),
      () => this.shadowed(),
      () => this.shadowed(),
      () => [
        ...this.some(1),
        simple('SET search_path = other, public'),
        ...this.elsewhere(),
        simple('RESET search_path'),
      ],
      () => [
        simple('BEGIN'),
        ...this.some(1),
        simple('SET LOCAL search_path = other'),
        ...this.elsewhere(),
        simple('ROLLBACK'),
        ...this.some(1),
      ],
      () => this.escaped(),
      // What a guard rejects is told with its row, which may not be one of that encoding.
      () => this.encoded(w.world.guard === 'reject' ? 'UTF8' : 'LATIN1'),
      // What a guard rejects has drawn; what stands for it has not.
      () => [simple(w.world.guard === 'reject' ? 'SELECT 2' : "SELECT currval('ticket')")],
      () => [simple('SELECT random()')],
    ])();
  }

  private plain(): string {
    for (;;) {
      const statement = this.statement();
      if (!statement.alias) return inline(statement);
    }
  }

  private some(count: number): Step {
    return Array.from({ length: count }, () => this.call('simple'));
  }

  /** A statement of a session in another encoding, written in it or, by mistake, in UTF-8. */
  private encoded(encoding: string): Step {
    const latin = encoding === 'LATIN1' && this.w.random.below(4) > 0;
    const calls = this.some(1).map((call) => ({ ...call, latin }));
    return [simple(`SET client_encoding = '${encoding}'`), ...calls, simple('RESET ALL')];
  }

  /** Statements of a session to which a backslash in a constant begins an escape. */
  private escaped(): Step {
    const { w } = this;
    const note = w.random.pick(["'it\\'s'", "'a\\\\'", "'\\x41'", "'\\'; --'"]);
    const text = `UPDATE ${w.table()} SET note = ${note}, ${w.lead} = ${w.lead} WHERE id = ${1 + w.random.below(14)} RETURNING *`;
    return [
      simple('SET standard_conforming_strings = off'),
      unordered(simple(text)),
      ...this.some(2),
      simple('RESET ALL'),
    ];
  }

  /** Statements of another table of the same name. */
  private elsewhere(): Step {
    const raw = `"${this.w.world.table}"`;
    return [
      simple(`INSERT INTO ${raw} (id, note) VALUES (1, 'x') RETURNING *`),
      simple(`SELECT * FROM ${raw}`),
      simple(`UPDATE ${raw} SET n = n + 1 RETURNING *`),
    ].map(unordered);
  }

  private sqlPrepare(): Step {
    const { random } = this.w;
    if (this.sql.length > 0 && random.chance(0.6)) {
      return [unordered(simple(random.pick(this.sql)))];
    }
    const { text, params, alias } = this.statement();
    if (alias) return this.sqlPrepare();
    const name = `p${++this.count}`;
    const types =
      random.chance(0.5) && params.length > 0
        ? ` (${params.map(({ type }) => type).join(', ')})`
        : '';
    const values = params.map(({ value }) => literal(value));
    const execute = `EXECUTE ${name}${values.length > 0 ? ` (${values.join(', ')})` : ''}`;
    this.sql.push(execute);
    return [simple(`PREPARE ${name}${types} AS ${text}`), simple(execute)].map(unordered);
  }

  private cursor(): Step {
    const { w } = this;
    const set = `UPDATE ${w.table()} SET ${w.lead} = ${w.value(w.column('lead')!, w.lead, true)} WHERE CURRENT OF c`;
    const one = w.random.chance(0.5);
    const rows = one
      ? `SELECT * FROM ${w.table()} WHERE id = ${w.key()}`
      : `SELECT * FROM ${w.table()} ORDER BY id`;
    return [
      'BEGIN',
      `DECLARE c CURSOR FOR ${rows}`,
      `FETCH ${one ? 1 : 2} FROM c`,
      ...(one ? [set, `MOVE BACKWARD 1 FROM c`] : ['FETCH ALL FROM c']),
      'CLOSE c',
      'COMMIT',
    ].map(simple);
  }

  private copyIn(): Step {
    const { w } = this;
    const { random } = w;
    const columns = w.writable.filter(({ role }) => role === 'id' || random.chance(0.6));
    const params = KINDS[w.view.kind].params as (string | null)[];
    const csv = random.chance(0.4);
    const isBinary = random.chance(0.25);
    const field = (role: string, i: number) => {
      if (role === 'id') return String(700 + random.below(90) * 3 + i);
      if (role === 'lead') return random.pick(params);
      return role === 'note' ? random.pick(['a', 'it"s, b', null]) : String(random.below(200));
    };
    const quoted = (value: string | null) => {
      if (csv) return value === null ? '' : `"${value.replaceAll('"', '""')}"`;
      return value === null ? '\\N' : value.replaceAll('\\', '\\\\');
    };
    const cells = Array.from({ length: random.below(4) }, (_, i) =>
      columns.map(({ role, type }) => ({ value: field(role, i), type })),
    );
    const names = columns.map(({ name }) => w.name(name)).join(', ');
    const options = csv
      ? random.pick([' CSV', ' (FORMAT csv)'])
      : random.pick(['', ' (FORMAT text)']);
    if (isBinary) {
      const text = `COPY ${w.table()} (${names}) FROM STDIN (FORMAT binary)`;
      return [{ ...simple(text), copy: cells }];
    }
    const rows = cells.map((row) => row.map(({ value }) => quoted(value)).join(csv ? ',' : '\t'));
    const text = `COPY ${w.table()} (${names}) FROM STDIN${options}`;
    return [{ ...simple(text), copy: rows.map((row) => `${row}\n`).join('') }];
  }

  /** Writes that do not name the table, or not so that the proxy could see it. */
  private blind(): Step {
    const { w } = this;
    const t = w.table();
    // Without a guard nobody may do that. An added column has none of the kind `reject` after the cutover.
    const { guard } = w.world;
    if (guard === 'none' || (guard === 'reject' && w.view.derived !== null)) return this.some(1);
    const call = (text: string): Call => ({ ...simple(text), blind: true, ordered: false });
    const id = 500 + w.random.below(100);
    const [kid] = w.world.children;
    if (kid && kid.front.length > 0 && w.random.chance(0.5)) {
      const set = kid.hasNoteInFront ? "mark = 'm', note = 'w'" : "mark = 'm'";
      return [unordered(call(`UPDATE ${OUTSIDER} SET ${set} WHERE mark = 'e' RETURNING *`))];
    }
    return w.random.pick<() => Step>([
      () => [call(`SELECT touch(${w.key()})`)],
      () => [call(`DO $$BEGIN UPDATE ${t} SET n = 7 WHERE id = ${w.key()}; END$$`)],
      () => [call(`UPDATE seen SET note = 'v' WHERE id = ${w.key()} RETURNING *`)],
      () => [call(`INSERT INTO seen (id, note) VALUES (${id}, 'v')`)],
    ])();
  }

  /** A temporary table of the same name comes before the one under migration. */
  private shadowed(): Step {
    const { w } = this;
    const raw = `"${w.world.table}"`;
    return [
      simple('BEGIN'),
      simple(`CREATE TEMP TABLE ${raw} (id int, note text, mine int)`),
      simple(`INSERT INTO ${raw} VALUES (1, 'mine', 2) RETURNING *`),
      simple(`UPDATE ${raw} SET mine = 3`),
      simple(`SELECT * FROM ${raw}`),
      ...this.some(1),
      simple(w.random.pick(['ROLLBACK', `DROP TABLE pg_temp.${raw}`])),
      ...this.some(1),
      simple('ROLLBACK'),
    ];
  }
}

const unordered = (call: Call): Call => ({ ...call, ordered: false });

export function literal(value: string | null): string {
  if (value === null) return 'NULL';
  const quoted = `'${value.replaceAll("'", "''")}'`;
  return value.includes('\\') ? ` E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

/** The statement with its values in the text. */
export function inline({ text, params }: Sql): string {
  return text.replace(/\$([0-9]+)/g, (_, n) => literal(params[Number(n) - 1]?.value ?? null));
}
