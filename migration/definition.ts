import { ExpressionError, parseExpression } from '../sql/expression.js';
import { lex } from '../sql/lexer.js';
import { parse, SyntaxFailure } from '../sql/parser.js';
import { type ByteString, fromBytes, toBytes } from '../sql/tree.js';
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
  text: ByteString;
}

/** A comment, in the space between tokens. */
const COMMENT = /--[^\n\r]*|\/\*[\s\S]*?\*\//g;

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
  private readonly bytes: ByteString;
  readonly tokens: Token[] = [];
  readonly comments: Token[] = [];

  constructor(
    private readonly sql: string,
    private readonly file: string,
  ) {
    this.bytes = toBytes(sql);
  }

  parse(): { stmt: Node; start: number; end: number }[] {
    const stmts = this.parsed();
    this.tokens.push(...tokensOf(this.bytes));
    const ends = [0, ...this.tokens.map((token) => token.end)];
    const starts = [...this.tokens.map((token) => token.start), this.bytes.length];
    starts.forEach((start, i) => {
      const from = ends[i]!;
      for (const { index, 0: text } of this.bytes.slice(from, start).matchAll(COMMENT)) {
        this.comments.push({ start: from + index, end: from + index + text.length, text });
      }
    });
    return stmts.map(({ stmt, stmt_location, stmt_len }) => {
      const start = stmt_location ?? 0;
      const end = stmt_len ? start + stmt_len : this.bytes.length;
      return { stmt: stmt as unknown as Node, start, end };
    });
  }

  private parsed(): ReturnType<typeof parse> {
    try {
      return parse(this.bytes);
    } catch (error) {
      if (!(error instanceof SyntaxFailure)) throw error;
      const before = [...this.sql].slice(0, Math.max(0, error.position - 1)).join('');
      const message = `It does not parse: ${error.message}.`;
      throw this.error(Buffer.byteLength(before), message, 'Mend the SQL at this line.');
    }
  }

  slice(start: number, end: number): string {
    return fromBytes(this.bytes.slice(start, end));
  }

  line(offset: number): number {
    return this.bytes.slice(0, offset).split('\n').length;
  }

  error(offset: number, message: string, hint: string): UserError {
    return new UserError(message, hint, `${this.file}:${this.line(offset)}`);
  }
}

const tokensOf = (bytes: ByteString): Token[] =>
  lex(bytes).map(({ start, end }) => ({ start, end, text: bytes.slice(start, end) }));

/** A name in a tree. */
const nameIn = (value: unknown) => fromBytes(value as ByteString);

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
    schema: relation.schemaname === undefined ? null : nameIn(relation.schemaname),
    name: nameIn(relation.relname),
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
    column: nameIn(rename.subname),
    to: nameIn(rename.newname),
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
      column: nameIn(command.name),
      using: using < 0 ? null : textOf(source, action.slice(using + 1)),
      down: directives.get('down')?.sql ?? null,
    };
  }
  if (command.subtype !== 'AT_AddColumn' || !def) {
    throw source.error(action[0]!.start, `"${place.action}" is not supported.`, SUPPORTED);
  }
  const column = nameIn(def.colname);
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
    const body = /^(?:--|\/\*)\s*pgtandem:\s*([\s\S]*?)\s*(?:\*\/)?$/.exec(
      fromBytes(comment.text),
    )?.[1];
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
  const bytes = toBytes(body);
  const tokens = tokensOf(bytes);
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
    const sql = fromBytes(bytes.slice(tokens[i + 2]!.start, tokens[j - 2]!.end));
    try {
      parseExpression(sql);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      throw source.error(
        comment.start,
        `${name}(${sql}) is not an expression: ${error.message}.`,
        'Write one expression over the columns of this row.',
      );
    }
    result.push([name, sql]);
    i = j;
  }
  if (result.length === 0) throw wrong();
  return result;
}
