import { Cache } from './cache.js';
import { normalise, READ_BYTES } from './normal.js';
import type { Rewrite, Shape } from './outcome.js';
import type { PreparedTable } from './prepared.js';
import { type ByteString, fromBytes } from './tree.js';

/** So many shapes are told apart; those that come later are one for each outcome. */
const SHAPES_MAX = 1_000;
const SKELETON_BYTES = 8 << 20;

type Rest = Omit<Shape, 'text' | 'isWhole'>;

/** Texts in which the quick look could take something for a value that is none, or the reverse. */
const AWKWARD = /["\\]|\$(?!\d)|--|\/\*/;
const VALUES = /'[^']*'|(?<![\w$\x80-\xff])\d+/g;

/** The shapes of the texts that a rewriter has seen, each one object. */
export class Shapes {
  private readonly known = new Map<string, Shape>();
  private readonly skeletons = new Cache<Shape>(SHAPES_MAX, SKELETON_BYTES);

  /**
   * Adds to a rewrite what is recorded of it.
   * @param tables a table before its partitions.
   * @param namedOf the watched columns, named by the text, of a table and its partitions.
   * @param isPlain whether backslashes in it are backslashes.
   */
  added(
    rewrite: Rewrite,
    bytes: ByteString,
    tables: readonly PreparedTable[],
    namedOf: (one: readonly PreparedTable[]) => readonly ByteString[],
    isPlain = true,
  ): Rewrite {
    if (rewrite.touches.length === 0) return rewrite;
    const observed = rewrite.touches
      .map((oid) => tables.filter(({ rule }) => rule.observed && rule.oid === oid))
      .filter((one) => one.length > 0);
    if (observed.length === 0) return rewrite;
    const { outcome, reason } = rewrite;
    const rest = {
      outcome,
      reason,
      tables: observed.map((one) => ({
        oid: one[0]!.rule.oid,
        name: `${one[0]!.rule.schema}.${one[0]!.rule.name}`,
        named: [...new Set(namedOf(one))].map(fromBytes),
      })),
    };
    return { ...rewrite, shape: this.quickly(bytes, rest, isPlain && reason !== 'encoding') };
  }

  /**
   * Reading tokens costs as much as parsing. Of most texts two replacements tell whether they
   * differ in their values only, and then it is done once for all of them.
   */
  private quickly(bytes: ByteString, rest: Rest, isLegible: boolean): Shape {
    const named = rest.tables.map((table) => `${table.oid} ${table.named.join()}`).join(';');
    const key = `${rest.outcome} ${rest.reason} ${named}\0`;
    const read = bytes.length > READ_BYTES ? bytes.slice(0, READ_BYTES) : bytes;
    if (!isLegible || AWKWARD.test(read)) return this.one(bytes, key, rest, isLegible);
    const skeleton = `${key}${bytes.length > READ_BYTES}${read.replace(VALUES, '?')}`;
    const known = this.skeletons.get(skeleton);
    if (known) return known;
    const shape = this.one(bytes, key, rest, true);
    this.skeletons.set(skeleton, shape, 0);
    return shape;
  }

  private one(bytes: ByteString, key: string, rest: Rest, isLegible: boolean): Shape {
    // Where a backslash or a byte of a character may be a quote, values are not told from the rest.
    const normal = isLegible ? normalise(bytes) : { text: '', isWhole: false };
    const known = this.known.get(key + normal.text);
    if (known) return known;
    if (this.known.size >= SHAPES_MAX) {
      const other = this.known.get(key);
      if (other) return other;
      return this.keep(key, { ...rest, text: '', isWhole: false });
    }
    return this.keep(key + normal.text, { ...rest, ...normal });
  }

  private keep(key: string, shape: Shape): Shape {
    this.known.set(key, shape);
    return shape;
  }
}
