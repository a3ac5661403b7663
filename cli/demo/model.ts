import { CHOSEN_KEYS, difference, type Order, type RawRow, seededOrder } from './orders.js';
import type { Random } from './random.js';

/** What a row is: its contents, or `null` when there is no such row. */
export type Version = Order | null;

/**
 * What one worker knows of its rows: the log of its acknowledged writes, kept as their outcome.
 *
 * A worker owns the seeded rows whose key leaves its number when divided by the number of
 * workers, a billion keys of its own choice, and whatever rows the server gave it a key for. No
 * other worker writes them, so what is acknowledged here is what must be in the table.
 *
 * Writes are made between {@link begin} and one of {@link commit}, {@link rollback} or, when the
 * connection was lost with the outcome unknown, {@link doubt}: then each row is held to be either
 * as it was or as it would be, until it is read again ({@link settle}).
 */
export class Model {
  /** Rows that were written, by key; a seeded row that is not here is as it was seeded. */
  private readonly versions = new Map<number, Version>();
  /** Rows of which one out of several versions is there, by key. */
  private readonly doubts = new Map<number, Version[]>();
  /** Inserts of unknown outcome whose key is not known either; their notes are unique. */
  readonly lostInserts: Order[] = [];
  /** What the rows were before the transaction that is open. */
  private readonly before = new Map<number, Version>();
  /** Keys of rows that were made by the load, for choosing one; dead ones are swept on sight. */
  private readonly made: number[] = [];
  private chosen = 0;

  constructor(
    readonly worker: number,
    readonly workers: number,
    readonly seeded: number,
  ) {}

  /** The row as it must be, the open transaction's own writes included. */
  get(id: number): Version {
    const version = this.versions.get(id);
    if (version !== undefined) return version;
    return this.ownsSeeded(id) ? seededOrder(id) : null;
  }

  /** Whether this worker knows what the row must be: it seeded it, or wrote it. */
  knows(id: number): boolean {
    return this.versions.has(id) || this.ownsSeeded(id);
  }

  private ownsSeeded(id: number): boolean {
    return id >= 1 && id <= this.seeded && id % this.workers === this.worker;
  }

  /** Keys of the rows that were written, those that are gone included. */
  written(): Iterable<number> {
    return this.versions.keys();
  }

  begin(): void {
    this.before.clear();
  }

  /** Notes that a statement of the open transaction has made the row what it is now. */
  set(id: number, version: Version): void {
    if (!this.before.has(id)) this.before.set(id, this.get(id));
    if (version !== null && this.get(id) === null) this.made.push(id);
    this.versions.set(id, version);
  }

  commit(): void {
    this.before.clear();
  }

  rollback(): void {
    for (const [id, version] of this.before) this.versions.set(id, version);
    this.before.clear();
  }

  /** The connection was lost while the open transaction was being committed. */
  doubt(): void {
    for (const [id, version] of this.before) this.doubts.set(id, [version, this.get(id)]);
    this.before.clear();
  }

  /** The versions of a row that may be there: one, unless it is in doubt. */
  candidates(id: number): Version[] {
    return this.doubts.get(id) ?? [this.get(id)];
  }

  /** A row that is in doubt and should be read again before anything else. */
  firstDoubt(): number | undefined {
    for (const id of this.doubts.keys()) return id;
    return undefined;
  }

  get doubtful(): number {
    return this.doubts.size + this.lostInserts.length;
  }

  /**
   * Ends the doubt about a row that was read (`undefined`: it was not there).
   * @returns what is wrong with the row when it is none of the versions it may be.
   */
  settle(id: number, raw: RawRow | undefined): string | undefined {
    const candidates = this.candidates(id);
    this.doubts.delete(id);
    // The later version comes last, and knows less when the server's clock was in it.
    const found = candidates.findLast((version) => mismatch(id, version, raw) === undefined);
    if (found === undefined) return mismatch(id, candidates.at(-1) ?? null, raw);
    this.versions.set(id, found);
    return undefined;
  }

  /** A key that this worker has not used yet. */
  freshKey(): number {
    return CHOSEN_KEYS * (this.worker + 1) + this.chosen++;
  }

  /** The range of keys that this worker has chosen so far; the second is not in it. */
  chosenKeys(): [from: number, to: number] {
    const from = CHOSEN_KEYS * (this.worker + 1);
    return [from, from + this.chosen];
  }

  /** A row that is there: a seeded one anywhere in the table, or one that was made. */
  pick(random: Random): number | undefined {
    for (let attempt = 0; attempt < 20; attempt++) {
      const id = random.chance(0.6) ? this.pickSeeded(random) : this.pickMade(random);
      if (id !== undefined && this.get(id) !== null && !this.doubts.has(id)) return id;
    }
    return undefined;
  }

  private pickSeeded(random: Random): number | undefined {
    if (this.seeded < this.worker) return undefined;
    const last = Math.floor((this.seeded - this.worker) / this.workers);
    const id = this.worker + this.workers * random.integer(0, last);
    return id >= 1 ? id : undefined;
  }

  private pickMade(random: Random): number | undefined {
    if (this.made.length === 0) return undefined;
    const at = random.integer(0, this.made.length - 1);
    const id = this.made[at]!;
    const dead = this.get(id) === null && !this.before.has(id) && !this.doubts.has(id);
    if (!dead) return id;
    this.made[at] = this.made[this.made.length - 1]!;
    this.made.pop();
    return undefined;
  }
}

/** In what a row that was read (`undefined`: not there) is not this version of it. */
export function mismatch(
  id: number,
  version: Version,
  raw: RawRow | undefined,
): string | undefined {
  if (version === null) return raw === undefined ? undefined : 'the row is there, but was deleted';
  if (raw === undefined) return 'the row is not there';
  return difference(id, version, raw);
}
