import type { RangeVar } from 'libpg-query';
import type { Resolution } from './outcome.js';
import type { PreparedTable } from './prepared.js';
import { relationsOf } from './relations.js';
import { quoteIdentifier, type RuleSet } from './rules.js';
import { type ByteString, fromBytes } from './tree.js';

/** Longest identifier in bytes; a longer one is cut, so that its beginning is its name. */
const IDENTIFIER_BYTES = 63;

/**
 * The prefilter: a pattern that every text matches in which one of the names can stand. Any bytes
 * above 0x7f stand for the name's own, since the client's encoding is not known here.
 */
export function namePattern(names: readonly string[]): RegExp {
  const groups = new Map<string, string[]>();
  for (const name of new Set(names)) {
    const pattern = name
      .replaceAll('"', '""')
      .replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
      .replace(/[^\0-\x7f]+/g, '[\\x80-\\xff]+');
    const bytes = Buffer.byteLength(name, 'utf8');
    // A name that is cut goes on; one that begins or ends with another character has no border.
    const right = /[A-Za-z0-9_]$/.test(name) && bytes < IDENTIFIER_BYTES - 3;
    const left = /^[A-Za-z0-9_]/.test(name);
    const borders = `${left ? '(?<![A-Za-z_\\x80-\\xff])' : ''}@${right ? '(?![A-Za-z0-9_\\x80-\\xff])' : ''}`;
    groups.set(borders, [...(groups.get(borders) ?? []), pattern]);
  }
  // Names with the same borders stand together, so that what they begin with is looked for once:
  // a partitioned table has hundreds that differ in their ends.
  const alternatives = [...groups].map(([borders, patterns]) =>
    borders.replace('@', () =>
      patterns.length === 1 ? patterns[0]! : `(?:${patterns.join('|')})`,
    ),
  );
  return new RegExp(['u&"', ...alternatives].join('|'), 'i');
}

/** Names of the rules' tables and their partitions: what has to be resolved on each session. */
export function tableNames(rules: RuleSet): string[] {
  return [...new Set(relationsOf(rules).map(({ rule }) => rule.name))];
}

/**
 * Whether the rules are ASCII throughout. Where they are not, a text of a session whose client_encoding is
 * not UTF8 is to be read in UTF-8 (recoded.ts), or to be treated as one that is not plain.
 */
export function isAscii(rules: RuleSet): boolean {
  return Buffer.byteLength(JSON.stringify(rules), 'utf8') === JSON.stringify(rules).length;
}

const MOST_WANTED = 8;
const ASCII = /^[ -~]+$/;
/** No name of a table begins so: the parser ends a text at a NUL. */
const WIDTH = '\0columns of ';

/**
 * Under which key a resolution has the number of a relation's columns; 0: there is no such relation.
 *
 * @param relation as it is written in SQL; see `columnCalled`.
 */
export function widthKey(relation: string): string {
  return WIDTH + relation;
}

/** Between a relation and the name of a column, where it is asked how many columns of that name it has. */
const CALLED = '\0';

export function columnCalled(relation: string, column: string): string {
  return relation + CALLED + column;
}

/** What is asked of: the relation as it is written in SQL, and the name of a column or none. */
export function readAsked(asked: string): { relation: string; column: string | null } {
  const [relation = '', column = null] = asked.split(CALLED);
  return { relation, column };
}

/** Finds the table under migration that a reference means. */
export class Names {
  /** Of what it has been of use how many columns there are, and was not known: see `readAsked`. */
  readonly wanted = new Set<string>();
  private readonly byName = new Map<ByteString, PreparedTable[]>();

  constructor(
    readonly tables: readonly PreparedTable[],
    private readonly resolution: Resolution,
  ) {
    for (const table of tables) {
      this.byName.set(table.name, [...(this.byName.get(table.name) ?? []), table]);
    }
  }

  /** As the server would: a schema is compared, without one the search_path has decided. */
  find(schema: ByteString | undefined, name: ByteString | undefined): PreparedTable | null {
    const tables = name === undefined ? undefined : this.byName.get(name);
    if (!tables) return null;
    if (schema) return tables.find((table) => table.schema === schema) ?? null;
    const oid = this.resolution.get(fromBytes(name!));
    return tables.find((table) => table.oid === oid) ?? null;
  }

  findVar(relation: RangeVar | undefined): PreparedTable | null {
    return relation ? this.find(relation.schemaname, relation.relname) : null;
  }

  /**
   * How many columns `*` of a relation gives; null: it is not known.
   * @param steady whether what the server said before the text still holds.
   */
  widthOf(schema: ByteString | undefined, name: ByteString, steady: boolean): number | null {
    const table = this.find(schema, name);
    if (table) return table.hides ? null : table.visible.length;
    if (!steady) return null;
    const relation = writtenOf(schema, name);
    return (relation && this.ask(relation)) || null;
  }

  /** Whether it is known that a relation which is not under migration has no column of that name. */
  lacks(schema: ByteString | undefined, name: ByteString, column: ByteString): boolean {
    const relation = writtenOf(schema, name);
    return !!relation && ASCII.test(column) && this.ask(columnCalled(relation, column)) === 0;
  }

  private ask(asked: string): number | undefined {
    const count = this.resolution.get(widthKey(asked));
    if (count === undefined && this.wanted.size < MOST_WANTED) this.wanted.add(asked);
    return count;
  }

  /** Tables of that name, whatever the search_path is. */
  named(name: ByteString): readonly PreparedTable[] {
    return this.byName.get(name) ?? [];
  }
}

/** A relation as it is written in SQL; null beyond ASCII, where what it is depends on the encoding. */
function writtenOf(schema: ByteString | undefined, name: ByteString): string | null {
  const path = [...(schema === undefined ? [] : [schema]), name];
  return path.every((part) => ASCII.test(part)) ? path.map(quoteIdentifier).join('.') : null;
}

/**
 * What of a resolution a rewrite depends on: which of the names mean a table under migration.
 * Sessions of different search_paths with the same answer share what was made for one of them.
 */
export function signatureOf(rules: RuleSet, resolution: Resolution): string {
  let signature = '';
  for (const { oid, rule } of relationsOf(rules)) {
    signature += resolution.get(rule.name) === oid ? '1' : '0';
  }
  for (const [key, width] of resolution) {
    if (key.startsWith(WIDTH)) signature += `${key} ${width};`;
  }
  return signature;
}
