import { parseSync, scanSync } from 'libpg-query';
import { UserError } from './errors.js';

/** A migration as the user wrote it: plain SQL, understood. */
export interface Definition {
  sql: string;
  /** Name of the file, for messages; `-e` when it was given on the command line. */
  file: string;
  table: { schema: string | null; name: string };
  changes: Change[];
}

/** One action on one column. Texts are the user's own, to be read by the server. */
export type Change = {
  /** Line in the file, from 1. */
  line: number;
  /** The action as it stands in the file, e.g. `ALTER COLUMN id TYPE bigint`. */
  action: string;
} & (
  | {
      kind: 'change-type';
      column: string;
      using: string | null;
      down: string | null;
    }
  | { kind: 'rename'; column: string; to: string }
  | { kind: 'add-derived'; column: string; up: string }
);

interface Token {
  start: number;
  end: number;
  text: string;
  tokenType: number;
}

/** Comment tokens of the scanner: SQL_COMMENT (`--`) and C_COMMENT. */
const COMMENTS = new Set([275, 276]);

const SUPPORTED =
  'pgtandem carries out ALTER TABLE ... ALTER COLUMN ... TYPE, RENAME COLUMN, ' +
  'and ADD COLUMN with a directive up(...). Run other DDL directly.';

/**
 * Understands a migration file. The parser must have been loaded (`loadParser` of sql/).
 * @throws UserError with file and line when it does not parse or is not a supported change.
 */
export function parseDefinition(sql: string, file: string): Definition {
  const source = new Source(sql, file);
  const statements = source.parse();
  if (statements.length === 0) {
    throw source.error(0, 'There is no statement in it.', 'Write an ALTER TABLE statement.');
  }
  const changes: Change[] = [];
  let table: Definition['table'] | null = null;
  for (const { stmt, start, end } of statements) {
    const relation = relationOf(stmt, source, start);
    if (table && (relation.name !== table.name || relation.schema !== table.schema)) {
      throw source.error(
        start,
        `It changes two tables, ${table.name} and ${relation.name}.`,
        'Write one migration for each table.',
      );
    }
    table = relation;
    changes.push(...changesOf(stmt, source, start, end));
  }
  return { sql, file, table: table!, changes };
}

type Node = Record<string, unknown>;

const at = (node: Node | undefined, key: string) => node?.[key] as Node | undefined;

/** The text with its tokens, and errors that name the place. Offsets are UTF-8 bytes. */
class Source {
  private readonly bytes: Buffer;
  readonly tokens: Token[] = [];
  readonly comments: Token[] = [];

  constructor(
    sql: string,
    private readonly file: string,
  ) {
    this.bytes = Buffer.from(sql);
  }

  parse(): { stmt: Node; start: number; end: number }[] {
    const text = this.bytes.toString();
    if (text.includes('\0')) throw this.error(0, 'It contains a NUL byte.', 'Remove it.');
    if (/^\s*$/.test(text)) return [];
    let stmts: { stmt?: unknown; stmt_location?: number; stmt_len?: number }[];
    try {
      stmts = (parseSync(text).stmts ?? []) as typeof stmts;
      const all = scanSync(text).tokens as Token[];
      this.tokens.push(...all.filter((token) => !COMMENTS.has(token.tokenType)));
      this.comments.push(...all.filter((token) => COMMENTS.has(token.tokenType)));
    } catch (error) {
      const details = (error as { sqlDetails?: { message: string; cursorPosition: number } })
        .sqlDetails;
      const offset = Math.max(0, details?.cursorPosition ?? 0);
      const message = details?.message ?? String(error);
      throw this.error(offset, `It does not parse: ${message}.`, 'Mend the SQL at this line.');
    }
    return stmts.map(({ stmt, stmt_location, stmt_len }) => {
      const start = stmt_location ?? 0;
      return { stmt: stmt as Node, start, end: stmt_len ? start + stmt_len : this.bytes.length };
    });
  }

  slice(start: number, end: number): string {
    return this.bytes.subarray(start, end).toString();
  }

  line(offset: number): number {
    let line = 1;
    for (const byte of this.bytes.subarray(0, offset)) if (byte === 10) line++;
    return line;
  }

  error(offset: number, message: string, hint: string): UserError {
    return new UserError(message, hint, `${this.file}:${this.line(offset)}`);
  }
}

function relationOf(stmt: Node, source: Source, start: number): Definition['table'] {
  const alter = at(stmt, 'AlterTableStmt');
  const rename = at(stmt, 'RenameStmt');
  const isTable =
    (alter && alter.objtype === 'OBJECT_TABLE') ||
    (rename?.renameType === 'OBJECT_COLUMN' && rename.relationType === 'OBJECT_TABLE');
  const relation = at(alter ?? rename, 'relation');
  if (!isTable || !relation) {
    throw source.error(start, 'This statement is not a change of a column.', SUPPORTED);
  }
  return {
    schema: (relation.schemaname as string | undefined) ?? null,
    name: relation.relname as string,
  };
}

function changesOf(stmt: Node, source: Source, start: number, end: number): Change[] {
  const tokens = source.tokens.filter(
    (token) => token.start >= start && token.end <= end && token.text !== ';',
  );
  const rename = at(stmt, 'RenameStmt');
  const commands = rename ? [rename] : ((at(stmt, 'AlterTableStmt')?.cmds as Node[]) ?? []);
  const relation = at(rename ?? at(stmt, 'AlterTableStmt'), 'relation')!;
  const actions = splitActions(tokens, relation);
  return commands.map((command, i) => {
    const action = actions[i]!;
    const next = actions[i + 1]?.[0]?.start ?? nextStatement(source, end);
    const directives = readDirectives(source, action, next);
    const change = rename
      ? renameChange(rename, source, action)
      : commandChange(at(command, 'AlterTableCmd')!, source, action, directives);
    for (const [name, directive] of directives) {
      const used = (name === 'down' && change.kind === 'change-type') || name === 'up';
      if (!used || (name === 'up' && change.kind !== 'add-derived')) {
        throw source.error(
          directive.offset,
          `The directive ${name}(...) means nothing for this change.`,
          name === 'up' ? 'Write the expression after USING.' : 'Remove it.',
        );
      }
    }
    return change;
  });
}

/** Where the next statement's tokens begin: comments before that belong to this one. */
function nextStatement(source: Source, end: number): number {
  return source.tokens.find((t) => t.start >= end && t.text !== ';')?.start ?? Infinity;
}

/** The tokens of each action of an ALTER TABLE: what stands between commas outside parentheses. */
function splitActions(tokens: Token[], relation: Node): Token[][] {
  const name = tokens.findIndex((token) => token.start === ((relation.location as number) ?? 0));
  const first = name + (relation.schemaname ? 3 : 1) + (relation.catalogname ? 2 : 0);
  const actions: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens.slice(first)) {
    if (actions[0]!.length === 0 && token.text === '*') continue;
    if (token.text === '(' || token.text === '[') depth++;
    if (token.text === ')' || token.text === ']') depth--;
    if (token.text === ',' && depth === 0) actions.push([]);
    else actions.at(-1)!.push(token);
  }
  return actions;
}

function textOf(source: Source, tokens: Token[]): string {
  return tokens.length === 0 ? '' : source.slice(tokens[0]!.start, tokens.at(-1)!.end);
}

function renameChange(rename: Node, source: Source, action: Token[]): Change {
  return {
    kind: 'rename',
    line: source.line(action[0]!.start),
    action: textOf(source, action),
    column: rename.subname as string,
    to: rename.newname as string,
  };
}

function commandChange(
  command: Node,
  source: Source,
  action: Token[],
  directives: Map<string, Directive>,
): Change {
  const place = { line: source.line(action[0]!.start), action: textOf(source, action) };
  const def = at(at(command, 'def'), 'ColumnDef');
  if (command.subtype === 'AT_AlterColumnType') {
    const using = action.findIndex((token) => token.text.toUpperCase() === 'USING');
    return {
      kind: 'change-type',
      ...place,
      column: command.name as string,
      using: using < 0 ? null : textOf(source, action.slice(using + 1)),
      down: directives.get('down')?.sql ?? null,
    };
  }
  if (command.subtype !== 'AT_AddColumn' || !def) {
    throw source.error(action[0]!.start, `"${place.action}" is not supported.`, SUPPORTED);
  }
  const column = def.colname as string;
  const up = directives.get('up');
  if (!up) {
    throw source.error(
      action[0]!.start,
      `ADD COLUMN ${column} says nothing of the rows that are there.`,
      'Add a comment "-- pgtandem: up(expression)" on its line; a column without one needs no ' +
        'migration: add it directly.',
    );
  }
  refuseConstraints(def, source, action[0]!.start);
  return { kind: 'add-derived', ...place, column, up: up.sql };
}

function refuseConstraints(def: Node, source: Source, offset: number): void {
  for (const item of (def.constraints as Node[] | undefined) ?? []) {
    const type = at(item, 'Constraint')?.contype;
    if (type === 'CONSTR_NOTNULL' || type === 'CONSTR_NULL' || type === 'CONSTR_DEFAULT') continue;
    throw source.error(
      offset,
      'A new column may be NOT NULL and have a DEFAULT; other constraints are not carried.',
      'Add the constraint after the migration is complete.',
    );
  }
}

interface Directive {
  sql: string;
  offset: number;
}

/** Reads `pgtandem: up(...) down(...)` in the comments between an action and the next one. */
function readDirectives(source: Source, action: Token[], next: number): Map<string, Directive> {
  const found = new Map<string, Directive>();
  const begin = action[0]!.start;
  for (const comment of source.comments) {
    if (comment.start < begin || comment.start >= next) continue;
    const body = /^(?:--|\/\*)\s*pgtandem:\s*([\s\S]*?)\s*(?:\*\/)?$/.exec(comment.text)?.[1];
    if (body === undefined) continue;
    for (const [name, sql] of splitDirectives(body, comment, source)) {
      if (found.has(name)) {
        throw source.error(comment.start, `The directive ${name} is given twice.`, 'Give it once.');
      }
      found.set(name, { sql, offset: comment.start });
    }
  }
  return found;
}

function splitDirectives(body: string, comment: Token, source: Source): [string, string][] {
  const wrong = () =>
    source.error(
      comment.start,
      `The directive "${body}" is not understood.`,
      'Write up(expression) or down(expression), one expression of SQL in each.',
    );
  let tokens: Token[];
  try {
    tokens = scanSync(body).tokens as Token[];
  } catch {
    throw wrong();
  }
  const bytes = Buffer.from(body);
  const result: [string, string][] = [];
  for (let i = 0; i < tokens.length; ) {
    const name = tokens[i]!.text.toLowerCase();
    if (!['up', 'down'].includes(name) || tokens[i + 1]?.text !== '(') throw wrong();
    let depth = 1;
    let j = i + 2;
    for (; j < tokens.length && depth > 0; j++) {
      if (tokens[j]!.text === '(') depth++;
      if (tokens[j]!.text === ')') depth--;
    }
    if (depth > 0 || j === i + 3) throw wrong();
    result.push([name, bytes.subarray(tokens[i + 2]!.start, tokens[j - 2]!.end).toString()]);
    i = j;
  }
  if (result.length === 0) throw wrong();
  return result;
}
