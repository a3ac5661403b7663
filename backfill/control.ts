import { LatencyWindow } from './latency-window.js';
import type { Latency, Report } from './percentile.js';

/** What began before the fill stood still, and what a proxy had not reported yet, milliseconds. */
const SETTLE_MS = 2_000;
/** For so long the application is looked at without the fill, as with it, milliseconds. */
const LOOK_MS = 5_000;
/** Where the host has stolen of all seconds but one or two, a look takes twice as long. */
const OWN_MIN = 3;
/** Where there are too few transactions it is not looked at for longer, milliseconds. */
const PATIENCE_MS = 15_000;
/** The median of so many looks is believed. */
const LOOKS = 3;
/** A fill may not excuse more than this by what the application has become beside it. */
const TIMES_MAX = 2;

/**
 * What the application's p99 is without the fill. What was learned before the first chunk is true for
 * a while: a fill takes hours, and the load of a morning is none of a night. So whenever the fill
 * stands still, for whatever reason, that is its own control; and where it never does and is slowed
 * down, it is held for some seconds now and then. Pure: the time comes as an argument.
 */
export class Control {
  private isStill = false;
  private sinceMs: number;
  /** Of the filling before the latest turn, what was settled, milliseconds. */
  private filledMs = 0;
  private lookedAtFilledMs = 0;
  private holdingSinceMs: number | null = null;
  private window: { fromMs: number; seen: LatencyWindow } | null = null;
  private readonly looks: number[] = [];

  /** @param nowMs it begins with the fill, which has not stood still. */
  constructor(nowMs: number) {
    this.sinceMs = nowMs - SETTLE_MS;
  }

  /** Whether the fill stands still from now on. */
  turn(isStill: boolean, nowMs: number): void {
    if (isStill === this.isStill) return;
    if (isStill) this.filledMs += this.settledMs(nowMs);
    this.isStill = isStill;
    this.sinceMs = nowMs;
    this.window = null;
  }

  /** A clock that goes while all that is reported is of the fill; null: it is not. */
  fillingMs(nowMs: number): number | null {
    const isMixed = this.isStill || nowMs - this.sinceMs < SETTLE_MS;
    return isMixed ? null : this.filledMs + this.settledMs(nowMs);
  }

  take(reports: readonly Report[], nowMs: number): void {
    if (!this.isStill || nowMs - this.sinceMs < SETTLE_MS) return;
    this.window ??= { fromMs: nowMs, seen: new LatencyWindow(Number.POSITIVE_INFINITY) };
    const { fromMs, seen } = this.window;
    const { p99Ms, slices }: Latency = seen.take(reports, nowMs);
    const lookMs = slices.own < Math.min(OWN_MIN, slices.all) ? 2 * LOOK_MS : LOOK_MS;
    if (p99Ms === null || nowMs - fromMs < lookMs) return;
    this.looks.push(p99Ms);
    if (this.looks.length > LOOKS) this.looks.shift();
    this.window = null;
    this.looked();
  }

  /**
   * Whether the fill is to be held now for another look.
   * @param everyMs of filling between two; null: not at all.
   * @param isSlowed only then it matters what the application is compared with.
   */
  holds(nowMs: number, everyMs: number | null, isSlowed: boolean): boolean {
    if (everyMs === null) this.holdingSinceMs = null;
    else if (this.holdingSinceMs !== null) {
      if (nowMs - this.holdingSinceMs > PATIENCE_MS) this.looked();
    } else if (isSlowed && !this.isStill) {
      const filledMs = this.filledMs + this.settledMs(nowMs);
      if (filledMs - this.lookedAtFilledMs >= everyMs) this.holdingSinceMs = nowMs;
    }
    return this.holdingSinceMs !== null;
  }

  /** @param learnedMs before the fill, or what was given. @returns the p99 to compare with. */
  baselineMs(learnedMs: number): number {
    if (this.looks.length === 0) return learnedMs;
    const sorted = [...this.looks].sort((a, b) => a - b);
    // Of two the lower one.
    return Math.min(learnedMs * TIMES_MAX, sorted[(sorted.length - 1) >> 1]!);
  }

  private looked(): void {
    this.holdingSinceMs = null;
    this.lookedAtFilledMs = this.filledMs;
  }

  private settledMs(nowMs: number): number {
    return this.isStill ? 0 : Math.max(0, nowMs - this.sinceMs - SETTLE_MS);
  }
}
