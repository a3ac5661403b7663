import { type Passed, RateWindow, SHORTEST_MS } from './rate.js';
import { VACUUM_SHARE } from './vacuum.js';

/**
 * What the time of a backfill went to since the migration began, whatever was restarted meanwhile.
 * Plain data: it is saved with the progress, and the next run goes on with it.
 */
export interface Spent {
  /** With the rests between chunks. */
  fillingSeconds: number;
  /** In interleaved VACUUMs. */
  vacuumSeconds: number;
  /** Standing still, by the name of the reason. */
  throttledSeconds: Record<string, number>;
  /** Longer rests, which are part of filling, by the name of the soft reason. */
  slowedSeconds: Record<string, number>;
  /** Passed and filled in that time, over passes. */
  blocks: number;
  rows: number;
  /** Of these blocks those before the latest VACUUM. */
  vacuumed: number;
  /** Seconds of the last ten minutes or so, older ones weighing less. */
  recent: { still: number; moving: number };
}

/** `filling`, `vacuum`, or the name of a reason to stand still. */
export type Expense = 'filling' | 'vacuum' | (string & {});

/** After so long a second that was spent weighs e times less in what was recent. */
const RECENT_SECONDS = 600;
/** Where it has moved for less than this share of the recent time, nobody can say when it ends. */
const MOVING_MIN = 0.02;

const NOTHING: Spent = {
  fillingSeconds: 0,
  vacuumSeconds: 0,
  throttledSeconds: {},
  slowedSeconds: {},
  blocks: 0,
  rows: 0,
  vacuumed: 0,
  recent: { still: 0, moving: 0 },
};

/**
 * Keeps account of a backfill's time: each moment since the last entry goes to one expense. From it
 * come the recent rate, the shares, and when it will be done. Pure: the time is an argument.
 *
 * How fast it fills is asked of the last half minute of filling, its stalls left out of what is to come;
 * the share of standing still of a longer time, because reasons last for minutes; and VACUUM of all
 * the time, because it comes once in a tenth of the table, however long that takes.
 */
export class Account {
  private readonly rate = new RateWindow();
  private readonly total: Spent;
  private last: { blocks: number; rows: number } | null = null;

  /** @param before what earlier runs have spent. */
  constructor(
    private atMs: number,
    before: Spent | null = null,
  ) {
    this.total = copyOf({ ...NOTHING, ...before });
  }

  /** The time since the last entry went to this. @returns it, in seconds. */
  spend(nowMs: number, expense: Expense): number {
    const seconds = Math.max(0, nowMs - this.atMs) / 1000;
    this.atMs = Math.max(this.atMs, nowMs);
    const { total } = this;
    const isStill = expense !== 'filling' && expense !== 'vacuum';
    if (expense === 'filling') total.fillingSeconds += seconds;
    else if (expense === 'vacuum') {
      total.vacuumSeconds += seconds;
      total.vacuumed = total.blocks;
    } else add(total.throttledSeconds, expense, seconds);
    const weight = Math.exp(-seconds / RECENT_SECONDS);
    const weighed = RECENT_SECONDS * (1 - weight);
    total.recent.still = total.recent.still * weight + (isStill ? weighed : 0);
    total.recent.moving = total.recent.moving * weight + (isStill ? 0 : weighed);
    return seconds;
  }

  /** So much of the filling were rests made longer by a soft reason. */
  slow(reason: string, seconds: number): void {
    add(this.total.slowedSeconds, reason, seconds);
  }

  /**
   * Where the fill is; what was passed since the last time was passed in the time that it filled.
   * @param blocksTotal of which so many have been passed.
   */
  reach(blocks: number, rows: number, blocksTotal: number): void {
    const { total, last } = this;
    // Where this run begins, and where a new pass does, nothing has been passed.
    if (last) total.blocks += Math.max(0, blocks - last.blocks);
    if (last) total.rows += Math.max(0, rows - last.rows);
    this.last = { blocks, rows };
    this.rate.add(total.fillingSeconds * 1000, blocks, rows, blocksTotal);
  }

  /** While it fills; null: not known yet. */
  rowsPerSecond(): number | null {
    const passed = this.passed();
    return passed && passed.rows / (passed.ms / 1000);
  }

  /** By the rows of the blocks before; null: not known yet. */
  rowsLeft(blocksLeft: number): number | null {
    if (blocksLeft <= 0) return 0;
    const passed = this.passed();
    return passed && Math.round((blocksLeft * passed.rows) / passed.blocks);
  }

  /** @param blocksTotal of which so many are left. */
  etaSeconds(blocksLeft: number, blocksTotal: number): number | null {
    if (blocksLeft <= 0) return 0;
    const passed = this.passed();
    const { recent } = this.total;
    const moving = recent.moving / (recent.moving + recent.still);
    if (!passed || !(moving >= MOVING_MIN)) return null;
    const filling = (blocksLeft * passed.usualMs) / 1000 / passed.blocks;
    return (filling + this.vacuumLeft(blocksLeft, blocksTotal)) / moving;
  }

  /** The last share of the table is not vacuumed any more, and while it is filled none is begun. */
  private vacuumLeft(blocksLeft: number, blocksTotal: number): number {
    const { vacuumSeconds, vacuumed, blocks } = this.total;
    const before = blocksLeft - blocksTotal * VACUUM_SHARE;
    if (vacuumed === 0 || before < 0) return 0;
    return ((blocks - vacuumed + before) * vacuumSeconds) / vacuumed;
  }

  spent(): Spent {
    return copyOf(this.total);
  }

  /** Of all the time, what each expense was; together 1, or nothing at all. */
  shares(): Record<string, number> {
    const { fillingSeconds, vacuumSeconds, throttledSeconds } = this.total;
    const all: Record<string, number> = { filling: fillingSeconds, ...throttledSeconds };
    if (vacuumSeconds > 0) all.vacuum = vacuumSeconds;
    const sum = Object.values(all).reduce((a, b) => a + b, 0);
    if (sum === 0) return {};
    return Object.fromEntries(Object.entries(all).map(([name, seconds]) => [name, seconds / sum]));
  }

  /** Lately, or, where this run is too young, in all the runs before. */
  private passed(): Passed | null {
    const { fillingSeconds, blocks, rows } = this.total;
    const ms = fillingSeconds * 1000;
    const before = ms >= SHORTEST_MS && blocks > 0;
    return this.rate.passed() ?? (before ? { ms, usualMs: ms, blocks, rows } : null);
  }
}

function copyOf(spent: Spent): Spent {
  const { throttledSeconds, slowedSeconds, recent } = spent;
  return {
    ...spent,
    throttledSeconds: { ...throttledSeconds },
    slowedSeconds: { ...slowedSeconds },
    recent: { ...recent },
  };
}

function add(sums: Record<string, number>, name: string, seconds: number): void {
  sums[name] = (sums[name] ?? 0) + seconds;
}
