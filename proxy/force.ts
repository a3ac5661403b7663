import { isAscii } from '../sql/names.js';
import type { StatementRewriter } from '../sql/outcome.js';
import { NO_RULES, type RuleSet } from '../sql/rules.js';

/** A rule set that named tables which the next one does not name any more. */
interface Retired {
  /** Epoch of the rule set that followed it. */
  until: number;
  rewriter: StatementRewriter;
}

/** How many retired rule sets are remembered; older statements are prepared again in any case. */
const RETIRED_MAX = 16;

/** The rules in force, with what is asked of them again and again. A value: never changed. */
export class Force {
  readonly oids: readonly number[];
  /** Those whose columns are written together: a migration is under way on them. */
  readonly migrating: readonly number[];
  /** Whether names and expressions are the same bytes in every encoding that a client may have. */
  readonly isAscii: boolean;
  private readonly versions: ReadonlyMap<number, number>;
  private readonly heldOids: ReadonlySet<number>;

  private constructor(
    readonly rules: RuleSet,
    /** null while no table is under migration: then nothing is looked at. */
    readonly rewriter: StatementRewriter | null,
    private readonly retired: readonly Retired[],
    private readonly retiredBefore: number,
  ) {
    this.isAscii = isAscii(rules);
    this.oids = rules.tables.map((table) => table.oid);
    this.migrating = rules.tables.filter(({ pairs }) => pairs.length > 0).map(({ oid }) => oid);
    this.versions = new Map(rules.tables.map((table) => [table.oid, table.version]));
    this.heldOids = new Set(rules.tables.filter((table) => table.held).map((table) => table.oid));
  }

  static readonly none = new Force(NO_RULES, null, [], 0);

  /** The rule set that comes in force after this one. */
  followedBy(rules: RuleSet, make: (rules: RuleSet) => StatementRewriter): Force {
    const rewriter = rules.tables.length > 0 ? make(rules) : null;
    const stays = new Set(rules.tables.map((table) => table.oid));
    const loses = this.oids.some((oid) => !stays.has(oid));
    const retired =
      loses && this.rewriter
        ? [...this.retired, { until: rules.epoch, rewriter: this.rewriter }]
        : this.retired;
    const excess = Math.max(0, retired.length - RETIRED_MAX);
    const before = excess > 0 ? retired[excess - 1]!.until : this.retiredBefore;
    return new Force(rules, rewriter, retired.slice(excess), before);
  }

  get epoch(): number {
    return this.rules.epoch;
  }

  /** Those of the tables of which it is recorded what is seen. */
  observed(oids: readonly number[]): { oid: number; name: string }[] {
    return this.rules.tables
      .filter(({ oid, observed }) => observed && oids.includes(oid))
      .map(({ oid, schema, name }) => ({ oid, name: `${schema}.${name}` }));
  }

  isHeld(oid: number): boolean {
    return this.heldOids.has(oid);
  }

  get held(): ReadonlySet<number> {
    return this.heldOids;
  }

  has(oid: number): boolean {
    return this.versions.has(oid);
  }

  /** Names the versions of the touched tables: what a prepared statement was made under. */
  touchKey(touches: readonly number[]): string {
    if (touches.length === 0) return '';
    return [...touches]
      .sort((a, b) => a - b)
      .map((oid) => `${oid}:${this.versions.get(oid) ?? 0}`)
      .join();
  }

  /**
   * Whether a statement that was found right at `epoch` may touch a table whose migration has
   * ended since: its result type may have changed.
   */
  mayHaveRetired(text: Buffer, epoch: number): boolean {
    if (epoch < this.retiredBefore) return true;
    return this.retired.some(({ until, rewriter }) => epoch < until && rewriter.mayTouch(text));
  }

  /** Whether going over to `next` changes nothing but which tables are held. */
  differsInHoldingOnly(next: Force): boolean {
    return (
      this.oids.length === next.oids.length &&
      this.oids.every((oid) => next.versions.get(oid) === this.versions.get(oid))
    );
  }
}
