import type { Metrics } from '../metrics/registry.js';
import type { Outcome, Shape } from '../sql/outcome.js';
import { Latencies } from './latencies.js';

/** A statement that was seen on a table, with who sent it: plain data, for whoever keeps it. */
export interface Sighting {
  /** `pg_class.oid` of the table. */
  table: number;
  /** Without its values; empty when it is not known. */
  statement: string;
  isWhole: boolean;
  outcome: Outcome;
  reason: string | null;
  /** The watched columns that it names; null: not known, it may name any. */
  named: readonly string[] | null;
  application: string;
  user: string;
  /** How often it was run since the last time that it was told of; 0: it was prepared only. */
  count: number;
}

/** Whose session it is. */
export interface Identity {
  /** `application_name` as the server has it. */
  application: string;
  user: string;
}

/** So many applications and users are told apart in one process. */
const WHO_MAX = 200;
/** So many of them in the labels of a metric. */
const LABELS_MAX = 50;
/** So many counts are kept from one time to the next. */
const TALLIES_MAX = 5_000;
const OTHERS = '(others)';

class Tally {
  count = 0;
  isListed = false;

  constructor(
    readonly shape: Shape,
    readonly who: Who,
  ) {}
}

class Who {
  readonly tallies = new Map<Shape, Tally>();

  constructor(
    readonly application: string,
    readonly user: string,
  ) {}
}

/** What one session is counted as. */
export class Witness implements Identity {
  private name = '';
  private found: Who | null = null;

  constructor(readonly user: string) {}

  get application(): string {
    return this.name;
  }

  /** The server has told another `application_name`. */
  set application(name: string) {
    this.name = name;
    this.found = null;
  }

  among(all: Sightings): Who {
    this.found ??= all.who(this);
    return this.found;
  }
}

/**
 * Counts the statements that touch the tables of a database, by shape and by who sent them. To count
 * one is to look up an object and to add one; all else is done when they are taken.
 */
export class Sightings {
  readonly latencies = new Latencies();
  private readonly all = new Map<string, Who>();
  private readonly others = new Who(OTHERS, '');
  private active: Tally[] = [];
  private kept = 0;
  private readonly labels = new Set<string>();

  /** @internal by Witness. */
  who({ application, user }: Identity): Who {
    const key = `${user}\0${application}`;
    const known = this.all.get(key);
    if (known) return known;
    if (this.all.size >= WHO_MAX) return this.others;
    const who = new Who(application, user);
    this.all.set(key, who);
    return who;
  }

  /** @param uses 0: it was prepared, and not run yet. */
  see(witness: Witness, shape: Shape, uses: number): void {
    const who = witness.among(this);
    const tally = who.tallies.get(shape) ?? this.begin(who, shape);
    tally.count += uses;
    if (tally.isListed) return;
    tally.isListed = true;
    this.active.push(tally);
  }

  /** A statement of which the text is not known was run, which may touch these tables. */
  seeUnknown(
    witness: Witness,
    tables: readonly { oid: number; name: string }[],
    reason: string,
  ): void {
    const key = `${reason} ${tables.map(({ oid }) => oid).join()}`;
    let shape = this.unknown.get(key);
    if (!shape) {
      const named: readonly string[] = [];
      const all = tables.map((table) => ({ ...table, named }));
      shape = { text: '', isWhole: false, outcome: 'guarded', reason, tables: all };
      if (this.unknown.size >= WHO_MAX) this.unknown.clear();
      this.unknown.set(key, shape);
      this.blind.add(shape);
    }
    this.see(witness, shape, 1);
  }

  private readonly unknown = new Map<string, Shape>();
  private readonly blind = new WeakSet<Shape>();

  private begin(who: Who, shape: Shape): Tally {
    // What is counted now stays on the list; what is forgotten is found anew when it is used.
    if (this.kept >= TALLIES_MAX) {
      for (const each of [...this.all.values(), this.others]) each.tallies.clear();
      this.kept = 0;
    }
    const crowded = this.active.length >= TALLIES_MAX && who !== this.others;
    if (crowded) return this.others.tallies.get(shape) ?? this.begin(this.others, shape);
    const tally = new Tally(shape, who);
    who.tallies.set(shape, tally);
    this.kept++;
    return tally;
  }

  /** What was seen since the last time. */
  take(metrics: Metrics): Sighting[] {
    const { active } = this;
    this.active = [];
    return active.flatMap((tally) => {
      const { shape, who, count } = tally;
      tally.count = 0;
      tally.isListed = false;
      const isBlind = this.blind.has(shape);
      return shape.tables.map(({ oid, name, named }) => {
        const columns = isBlind ? ['(unknown)'] : named;
        if (count > 0) this.export(metrics, name, columns, who, count);
        const { outcome, reason, isWhole } = shape;
        return {
          table: oid,
          statement: shape.text,
          isWhole,
          outcome,
          reason,
          named: isBlind ? null : named,
          application: who.application,
          user: who.user,
          count,
        };
      });
    });
  }

  private export(
    metrics: Metrics,
    table: string,
    columns: readonly string[],
    who: Who,
    count: number,
  ): void {
    if (columns.length === 0) return;
    if (this.labels.size < LABELS_MAX) this.labels.add(who.application);
    const application = this.labels.has(who.application) ? who.application : OTHERS;
    for (const column of columns) {
      metrics.count('pgtandem_column_uses_total', { table, column, application }, count);
    }
  }
}
