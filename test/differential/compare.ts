import type pg from 'pg';
import { readFields } from '../../proxy/messages.js';
import type { Message } from '../proxy/harness.js';

/** The type of a row without one of its own: a table's is told as this one (docs/limits.md). */
const RECORD = '2249';

/** What oids mean in one database. */
export class Catalog {
  private constructor(
    private readonly types: ReadonlyMap<number, string>,
    private readonly columns: ReadonlyMap<string, readonly [string, string]>,
  ) {}

  static async read(control: pg.Client): Promise<Catalog> {
    const types = await control.query(
      `SELECT t.oid::int8 AS oid, CASE WHEN relkind = 'c' OR typrelid = 0 THEN typname END AS name
       FROM pg_type t LEFT JOIN pg_class c ON c.oid = typrelid WHERE t.oid >= 16384`,
    );
    const columns = await control.query(
      `SELECT attrelid::int8 || '.' || attnum AS at, c.relname AS table, attname AS name
       FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
       WHERE attrelid >= 16384 AND relnamespace = 'public'::regnamespace`,
    );
    return new Catalog(
      new Map(types.rows.map(({ oid, name }) => [Number(oid), name ?? RECORD])),
      new Map(columns.rows.map(({ at, table, name }) => [at, [table, name] as const])),
    );
  }

  type(oid: number): string {
    return oid < 16384 ? String(oid) : (this.types.get(oid) ?? 'new');
  }

  /** Names of a table and of its column. */
  column(table: number, attnum: number): readonly [string, string] {
    // A whole row has a table, and no column; what stands for it has neither.
    if (table === 0 || attnum === 0) return ['', ''];
    return this.columns.get(`${table}.${attnum}`) ?? ['new', ''];
  }
}

export interface Shown {
  catalog: Catalog;
  /** Whether rows come in a certain order. */
  ordered: boolean;
  /** Rows are left out. */
  rowless: boolean;
  /** The other name of a column, and the one by which it is told. */
  alias: { from: string; to: string } | undefined;
}

/** What an application can see of an answer, one line for each message, free of oids. */
export function describe(messages: readonly Message[], shown: Shown): string[] {
  const lines: string[] = [];
  let rows: string[] = [];
  const flush = () => {
    if (!shown.ordered) rows.sort();
    if (!shown.rowless) lines.push(...rows);
    rows = [];
  };
  for (const { type, body } of messages) {
    if (type === 'D' || type === 'd') {
      rows.push(`${type} ${readable(body)}`);
      continue;
    }
    flush();
    lines.push(line(type, body, shown));
  }
  flush();
  return lines;
}

function line(type: string, body: Buffer, { catalog, alias }: Shown): string {
  if (type === 'T') return `T ${columnsOf(body, catalog, alias).join(', ')}`;
  if (type === 't') {
    const types = Array.from({ length: body.readUInt16BE(0) }, (_, i) =>
      catalog.type(body.readUInt32BE(2 + 4 * i)),
    );
    return `t ${types.join(' ')}`;
  }
  if (type === 'E' || type === 'N') {
    const said = fields(body);
    // "Perhaps you meant ..." goes by how a name is spelled, and the two sides spell it differently.
    if (alias && said.C === '42703') delete said.H;
    const text = JSON.stringify(said);
    // In messages a name is quoted, or behind that of its table.
    const told = alias
      ? text
          .replaceAll(`\\"${alias.from}\\"`, `\\"${alias.to}\\"`)
          .replaceAll(`.${alias.from} `, `.${alias.to} `)
          .replaceAll(`"c":"${alias.from}"`, `"c":"${alias.to}"`)
      : text;
    return `${type} ${told}`;
  }
  return `${type} ${readable(body)}`;
}

/** The columns of a RowDescription: name, table and own name, type, length, modifier, format. */
export function columnsOf(body: Buffer, catalog: Catalog, alias: Shown['alias']): string[] {
  const told = (name: string) => (name === alias?.from ? alias.to : name);
  const found: string[] = [];
  let pos = 2;
  for (let left = body.readUInt16BE(0); left > 0; left--) {
    const end = body.indexOf(0, pos);
    const name = body.toString('utf8', pos, end);
    const at = end + 1;
    const [table, own] = catalog.column(body.readUInt32BE(at), body.readUInt16BE(at + 4));
    const type = catalog.type(body.readUInt32BE(at + 6));
    const rest = [body.readInt16BE(at + 10), body.readInt32BE(at + 12), body.readInt16BE(at + 16)];
    found.push([told(name), `${table}.${told(own)}`, type, ...rest].join(' '));
    pos = at + 18;
  }
  return found;
}

/** Fields that say where in the server's own source it happened: F, L and R. */
const SOURCE = new Set(['F', 'L', 'R']);

export function fields(body: Buffer): Record<string, string> {
  const shown: Record<string, string> = {};
  for (const [key, value] of readFields(body, 0, body.length)) {
    if (SOURCE.has(key)) continue;
    const text = Buffer.from(value, 'latin1').toString();
    // It prints the whole row, hidden columns among it; docs/limits.md says so.
    if (key === 'D') shown[key] = text.replace(/^(Failing row contains ).*/s, '$1');
    // A trigger of any kind makes COPY insert row by row, and then it still has the line.
    else if (key === 'W') shown[key] = text.replace(/^(COPY .*, line \d+)[:,].*$/m, '$1');
    else shown[key] = text;
  }
  return shown;
}

function readable(body: Buffer): string {
  return body
    .toString('latin1')
    .replace(/[^ -~]/g, (char) => (char === '\0' ? '.' : `\\${char.charCodeAt(0).toString(16)}`));
}
