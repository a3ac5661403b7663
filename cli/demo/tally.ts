import { Latency, type Percentiles } from './latency.js';

/** An answer that was not what the application must get. */
export interface Wrong {
  phase: string;
  worker: number;
  shape: string;
  protocol: string;
  /** What was wrong, in words. */
  complaint: string;
}

export interface ErrorCount {
  /** SQLSTATE where there is one, and the message. */
  message: string;
  count: number;
  /** The statement that had it first. */
  sample: string;
}

/** What a load has seen so far. */
export interface Summary {
  seed: number;
  statements: number;
  errors: ErrorCount[];
  errorCount: number;
  /** The first ones; `wrongCount` is all of them. */
  wrong: Wrong[];
  wrongCount: number;
  latency: Record<string, Percentiles>;
  /** Statements by shape and protocol, to see that all were there. */
  shapes: Record<string, number>;
  /** Connections that were made again after one was lost. */
  reconnects: number;
}

/** Messages and samples that are kept; more are only counted. */
const KEPT = 50;
const OTHER = '(other messages)';

/** What all workers count into; one for each load. */
export class Tally {
  phase = 'before';
  statements = 0;
  reconnects = 0;
  private errorCount = 0;
  private wrongCount = 0;
  private readonly errors = new Map<string, ErrorCount>();
  private readonly wrong: Wrong[] = [];
  private readonly latency = new Map<string, Latency>();
  private readonly shapes = new Map<string, number>();

  answered(shape: string, protocol: string, ms: number): void {
    this.statements++;
    const latency = this.latency.get(this.phase) ?? new Latency();
    latency.add(ms);
    this.latency.set(this.phase, latency);
    const key = `${shape} ${protocol}`;
    this.shapes.set(key, (this.shapes.get(key) ?? 0) + 1);
  }

  failed(message: string, sample: string): void {
    this.errorCount++;
    const key = this.errors.has(message) || this.errors.size < KEPT ? message : OTHER;
    const error = this.errors.get(key) ?? { message: key, count: 0, sample };
    error.count++;
    this.errors.set(key, error);
  }

  complain(wrong: Omit<Wrong, 'phase'>): void {
    this.wrongCount++;
    if (this.wrong.length < KEPT) this.wrong.push({ phase: this.phase, ...wrong });
  }

  summary(seed: number): Summary {
    const { statements, errorCount, wrongCount, reconnects } = this;
    const latency = [...this.latency].map(([phase, times]) => [phase, times.summary()] as const);
    return {
      seed,
      statements,
      errors: [...this.errors.values()],
      errorCount,
      wrong: [...this.wrong],
      wrongCount,
      latency: Object.fromEntries(latency),
      shapes: Object.fromEntries([...this.shapes].sort()),
      reconnects,
    };
  }
}
