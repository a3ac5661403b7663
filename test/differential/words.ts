import { quoteIdentifier } from '../../sql/rules.js';
import type { Random } from '../sql/random.js';
import type { Column } from './column.js';
import { columnsIn } from './family.js';
import { KINDS } from './kinds.js';
import type { View, World } from './world.js';

export interface Param {
  value: string | null;
  /** SQL type of the column that it is for. */
  type: string;
}

/** A statement as an application writes it. */
export interface Sql {
  text: string;
  params: Param[];
}

const PLAIN = /^[a-z_][a-z0-9_]*$/;
const RESERVED = new Set(['order', 'from', 'group', 'user']);
/** One evaluation more or less, or in another order, is seen. */
const FICKLE = /nextval|tick|random|DEFAULT/;

/** The words of which statements are made, right and wrong ones. */
export class Words {
  params: Param[] = [];
  bind = false;
  /** Whether other columns than the lead get wrong values: of two errors either may be told. */
  spoilt = false;
  /** Whether the lead column is called by its other name. */
  aliased = false;
  /** Whether a parameter is used twice, perhaps for columns of two types. */
  shared = false;
  /** Whether a row that is there already does no harm. */
  clashes = false;
  private fickle = false;
  /** The table, or one of its partitions or children, that the statement names. */
  relation: string;

  constructor(
    readonly random: Random,
    readonly world: World,
    readonly view: View,
    readonly major: number,
    /** Whether both names of a renamed column hold the same in every row. */
    private readonly filled: boolean,
  ) {
    this.relation = world.table;
  }

  begin(): void {
    const { random } = this;
    // A guard cannot tell a NULL that was written under the other name from one that was not.
    const known = this.view.alias !== null && this.world.guard === 'none';
    this.aliased = this.filled && known && random.chance(0.3);
    const { table, parts } = this.world;
    this.relation = parts.length > 0 && random.chance(0.25) ? random.pick(parts) : table;
    this.params = [];
    this.bind = random.chance(0.5);
    this.spoilt = random.chance(0.1);
    this.fickle = false;
    this.clashes = false;
    this.shared = false;
  }

  /** White space between two words, with a comment in it now and then. */
  gap(): string {
    const { random } = this;
    if (random.chance(0.92)) return ' ';
    return random.pick(['\n', '\t', ' /* a, (b */ ', " -- it's, )\n", '/**//* /* two */ */', '  ']);
  }

  join(...parts: (string | false)[]): string {
    let text = '';
    for (const part of parts) if (part) text += (text ? this.gap() : '') + part;
    return text;
  }

  comma(items: readonly string[]): string {
    return items.map((item, i) => (i === 0 ? item : `,${this.gap()}${item}`)).join('');
  }

  /** A name in one of the ways in which it can be written. */
  name(raw: string): string {
    const { random } = this;
    const simple = PLAIN.test(raw) && !RESERVED.has(raw);
    if (simple && random.chance(0.85)) return random.chance(0.9) ? raw : raw.toUpperCase();
    if (random.chance(0.9)) return quoteIdentifier(raw);
    const escaped = [...raw].map((char) =>
      /[a-z]/.test(char) && random.chance(0.7)
        ? char
        : `\\${char.codePointAt(0)!.toString(16).padStart(4, '0')}`,
    );
    return `U&"${escaped.join('')}"`;
  }

  table(): string {
    const name = this.name(this.relation);
    return this.random.chance(0.15) ? `${this.random.pick(['public', '"public"'])}.${name}` : name;
  }

  /** The lead column; by its other name it is always quoted, so that names are as long as names. */
  get lead(): string {
    return this.aliased ? quoteIdentifier(this.view.alias!) : this.name(this.view.lead);
  }

  param(value: string | null, type: string): string {
    const { random, params } = this;
    if (params.length > 0 && random.chance(0.04)) {
      this.shared = true;
      return `$${1 + random.below(params.length)}`;
    }
    params.push({ value, type });
    return `$${params.length}`;
  }

  /** The columns that an application may write. */
  get writable(): Column[] {
    return this.columns.filter(({ role }) => role !== 'g' && role !== 'derived');
  }

  /** The columns of what is named. */
  get columns(): Column[] {
    const child = this.world.children.find(({ name }) => name === this.relation);
    return columnsIn(child, this.view.columns);
  }

  column(role: Column['role']): Column | undefined {
    return this.columns.find((column) => column.role === role);
  }

  /** Some columns to write, in a random order. */
  some(withId: boolean): Column[] {
    const { random } = this;
    const all = this.writable.filter(({ role }) => role !== 'id' || withId);
    const found = random.some(all).filter(({ role }) => !this.spoilt || role !== 'lead');
    return found.length > 0 ? found : [this.column('n')!];
  }

  /** A value for a column; `own` is how the lead is called there, null where it cannot be. */
  value(column: Column, own: string | null, isDefaultAllowed: boolean): string {
    const { random } = this;
    if (isDefaultAllowed && random.chance(0.08)) return 'DEFAULT';
    if (column.role === 'lead') return this.leadValue(column, own);
    const bound = (value: string) =>
      this.bind && random.chance(0.5) ? this.param(value, column.type) : value;
    if (column.role === 'id') {
      const isMoved = this.world.parts.length > 0 && random.chance(0.3);
      const isThere = (this.clashes || isMoved) && random.chance(0.7);
      return bound(String(isThere ? 1 + random.below(12) : 20 + random.below(400)));
    }
    if (column.role === 'u') return bound(String(random.below(160)));
    if (column.role === 'n') {
      if (this.spoilt && random.chance(0.3)) return random.pick(["'bad'", '1/0', 'nothing', '-9']);
      return random.chance(0.5)
        ? bound(String(random.below(9)))
        : random.pick(['1', '-2', "'3'", '4 * 2', 'NULL', '3']);
    }
    if (this.bind && random.chance(0.5)) return this.param(`p${random.below(9)}`, column.type);
    return random.pick(["'a'", "'b,c'", 'NULL', "'ü' || 'x'", "'d'", 'lower($$Q$$)', "'a'"]);
  }

  private leadValue(column: Column, own: string | null): string {
    const { random } = this;
    const kind = KINDS[this.view.kind];
    if (this.bind && random.chance(0.6)) {
      return this.param(random.pick<string | null>(kind.params), column.type);
    }
    if (random.chance(0.4)) return random.pick<string>(kind.values);
    const usable = kind.expressions.filter(
      // Two that are drawn in one statement: which comes first is nobody's business.
      (text) => (own !== null || !/@|\bn\b/.test(text)) && !(this.fickle && FICKLE.test(text)),
    );
    const text = random.pick<string>(usable);
    this.fickle ||= FICKLE.test(text);
    return text.replaceAll('@', own ?? 'NULL');
  }

  /** Whether a text draws something, so that it must be done on one row only. */
  draws(text: string): boolean {
    return FICKLE.test(text) || (this.world.volatile && /DEFAULT/.test(text));
  }

  key(): string {
    const id = String(1 + this.random.below(14));
    return this.bind && this.random.chance(0.5) ? this.param(id, 'int') : id;
  }

  /** Some columns of the table, or all, as a target list. */
  targets(name: string): string {
    const { random } = this;
    const lead = `${name}.${this.lead}`;
    return random.pick(
      [
        '*',
        `${name}.*`,
        // Beside a table with a column of the old name, only the new one says which is meant.
        `id, ${this.aliased ? lead : this.lead}`,
        `n, ${name}.*, note`,
        `${name}.id AS x`,
        `${lead}, ${name}.n + 1 AS m`,
        `${name}.*, ${lead} IS NULL`,
        `count(*) OVER (), ${lead}`,
        'nothing',
      ].slice(0, random.chance(0.97) ? 7 : 9),
    );
  }

  returning(name: string): string | false {
    if (this.random.chance(0.45)) return false;
    const { random } = this;
    if (this.major >= 18 && random.chance(0.12)) {
      const list = [`old.${this.lead}, new.${this.lead}`, 'old.id, new.*', 'WITH', 'old, new.n'];
      const chosen = random.pick(list);
      if (chosen === 'WITH') return `RETURNING WITH (OLD AS a, NEW AS b) a.n, b.${this.lead}, b.*`;
      return `RETURNING ${chosen}`;
    }
    return `RETURNING ${this.targets(name)}`;
  }
}
