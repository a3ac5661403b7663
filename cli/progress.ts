import { SingleBar } from 'cli-progress';
import { count, formatDuration, percent } from '../backfill/words.js';

/** Where a migration stands, as its status says it. */
export interface ProgressSnapshot {
  phase: string;
  /** Share of the table that the backfill has passed, 0 to 1; `null` where there is none. */
  ratio: number | null;
  rowsFilled: number;
  /** `null` while it is not known yet. */
  rowsPerSecond: number | null;
  etaSeconds: number | null;
  /** Why the backfill stands still; `null` when it does not. */
  throttled: string | null;
  /** Of each standby; `null` where it cannot be known. */
  lag: { standby: string; ms: number | null }[];
}

/** Without a terminal, a line each so many milliseconds, besides one at each new phase. */
const LINE_EVERY_MS = 5_000;

/** Everything but the bar: what it is at, how fast, how long yet, and what is in its way. */
export function formatDetail(snapshot: ProgressSnapshot): string {
  const { rowsFilled, rowsPerSecond, etaSeconds, throttled, lag } = snapshot;
  const parts: string[] = [];
  if (rowsFilled > 0) parts.push(`${count(rowsFilled)} rows`);
  if (throttled !== null) parts.push(`waiting: ${throttled}`);
  else if (rowsPerSecond !== null) parts.push(`${count(rowsPerSecond)} rows/s`);
  if (throttled === null && etaSeconds !== null) parts.push(`${formatDuration(etaSeconds)} left`);
  for (const { standby, ms } of lag) {
    parts.push(`${standby} ${ms === null ? 'unknown' : formatDuration(ms / 1_000)} behind`);
  }
  return parts.join(', ');
}

/** One line of a log. */
export function formatLine(snapshot: ProgressSnapshot): string {
  const { phase, ratio } = snapshot;
  const share = ratio === null ? [] : [percent(ratio)];
  const detail = formatDetail(snapshot);
  return [`${phase}:`, ...share, ...(detail ? [detail] : [])].join(' ').replace(/:$/, '');
}

/** A stream that may be a terminal. */
export type Output = NodeJS.WritableStream & { isTTY?: boolean; columns?: number };

/** The bar of the snapshot, as wide as a terminal of so many columns allows. */
export function formatBar(snapshot: ProgressSnapshot, columns: number): string {
  const { phase, ratio } = snapshot;
  const detail = formatDetail(snapshot);
  const head = phase.padEnd(14);
  if (ratio === null) return `${head} ${detail}`.trimEnd().slice(0, columns);
  const width = 24;
  const full = Math.round(Math.min(1, Math.max(0, ratio)) * width);
  const bar = `${'█'.repeat(full)}${'░'.repeat(width - full)}`;
  return `${head} ${bar} ${percent(ratio).padStart(4)} ${detail}`.trimEnd().slice(0, columns);
}

/**
 * Shows a migration's progress: a bar that moves on a terminal, lines in a log. The caller gives
 * it each snapshot as it comes, and says {@link stop} at the end.
 */
export class Progress {
  private readonly bar: SingleBar | undefined;
  private latest: ProgressSnapshot | undefined;
  private lastLineMs = -Infinity;

  /** @param now milliseconds on a monotonic clock. */
  constructor(
    private readonly out: Output = process.stdout,
    private readonly now: () => number = () => performance.now(),
  ) {
    if (!out.isTTY) return;
    this.bar = new SingleBar({
      stream: out,
      format: () => (this.latest ? formatBar(this.latest, (out.columns ?? 80) - 1) : ''),
      hideCursor: true,
      clearOnComplete: true,
      // The caller ends it, on a signal too: cli-progress would end the process for us.
      gracefulExit: false,
    });
  }

  update(snapshot: ProgressSnapshot): void {
    const before = this.latest;
    this.latest = snapshot;
    if (this.bar) this.draw(this.bar, before, snapshot);
    else this.line(before, snapshot);
  }

  /** Writes a line of its own, above the bar where there is one. */
  say(line: string): void {
    if (this.bar && this.latest) this.bar.stop();
    this.out.write(`${line}\n`);
    if (this.bar && this.latest) this.bar.start(1_000, position(this.latest));
  }

  /** Leaves the terminal as it was, and the last snapshot as a line. */
  stop(): void {
    if (!this.latest || !this.bar) return;
    this.bar.stop();
    this.out.write(`${formatLine(this.latest)}\n`);
    this.latest = undefined;
  }

  private draw(bar: SingleBar, before: ProgressSnapshot | undefined, now: ProgressSnapshot): void {
    if (!before) bar.start(1_000, position(now));
    else if (before.phase !== now.phase) this.say(formatLine(before));
    bar.update(position(now));
  }

  private line(before: ProgressSnapshot | undefined, snapshot: ProgressSnapshot): void {
    const due = this.now() - this.lastLineMs >= LINE_EVERY_MS;
    if (!due && before?.phase === snapshot.phase) return;
    this.lastLineMs = this.now();
    this.out.write(`${formatLine(snapshot)}\n`);
  }
}

function position({ ratio }: ProgressSnapshot): number {
  return Math.round((ratio ?? 0) * 1_000);
}
