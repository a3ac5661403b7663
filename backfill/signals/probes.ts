import type { Connection, Opener } from '../../db/connect.js';
import { DEFAULT_THROTTLE, type ThrottleSettings } from '../job.js';
import type { Signal } from '../throttle.js';
import { endsWithin } from '../wait.js';
import { isWanted, unseen } from './catalog.js';
import { tableSize, walSize } from './disk.js';
import { http } from './http.js';
import { query } from './query.js';
import type { Probe } from './source.js';

/** How long after an answer, or a failure, the same thing is asked again, milliseconds. */
const EVERY_MS = 250;
/** An answer is too old when it was asked for longer ago than an interval and two timeouts. */
const PROBE_STALE_MS = 3_000;
const STATEMENT_MS = 1_000;

interface Answer {
  atMs: number;
  key: string;
  value: { known: unknown } | { failed: string };
}

/** Asks what can be slow or fail, each by itself, and remembers the latest answers. */
export class Probes {
  private settings: ThrottleSettings = DEFAULT_THROTTLE;
  private readonly answers = new Map<Probe<unknown>, Answer>();
  private readonly asking = new Set<Probe<unknown>>();
  private readonly all = [walSize(), tableSize(), query(), http()] as unknown as Probe<unknown>[];
  private timer: NodeJS.Timeout | null = null;
  private opened: Promise<Connection> | null = null;
  private closed = false;

  constructor(
    private readonly opener: Opener,
    /** What is asked from now on is of this table. */
    public tableOid: number,
  ) {}

  /** What is asked from now on. */
  follow(settings: ThrottleSettings): void {
    this.settings = settings;
    this.askAll(true);
    const isWantedAny = this.all.some((probe) => isWanted(probe, settings));
    if (isWantedAny && !this.closed) this.timer ??= setInterval(() => this.askAll(), EVERY_MS);
    else this.rest();
  }

  signals(settings: ThrottleSettings, nowMs: number): Signal[] {
    return this.all
      .filter((probe) => isWanted(probe, settings))
      .flatMap((probe): Signal[] => {
        const { name, level } = probe;
        const answer = this.answers.get(probe);
        if (answer?.key !== probe.key(settings, this.tableOid)) return [unseen(name, level)];
        const common = { name, level, ageMs: nowMs - answer.atMs, staleMs: PROBE_STALE_MS };
        if ('failed' in answer.value) {
          const detail = `can't be known: ${answer.value.failed}`;
          return [{ ...common, subject: '', observed: null, threshold: Number.NaN, detail }];
        }
        const judged = probe.judge(answer.value.known, settings);
        return judged.map((one) => ({ ...common, ...one }));
      });
  }

  async close(): Promise<void> {
    this.closed = true;
    this.rest();
    const end = this.opened?.then((connection) => connection.end());
    if (end) await endsWithin(end, 1_000);
  }

  /** Where nothing is to be asked nobody wakes up for it. */
  private rest(): void {
    if (this.timer) clearInterval(this.timer);
    this.timer = null;
  }

  /** @param onlyNew those that have no answer under these settings yet. */
  private askAll(onlyNew = false): void {
    for (const probe of this.all) {
      if (!isWanted(probe, this.settings) || this.asking.has(probe)) continue;
      const key = probe.key(this.settings, this.tableOid);
      if (!onlyNew || this.answers.get(probe)?.key !== key) void this.ask(probe, key);
    }
  }

  /** Never rejects: what fails is an answer. */
  private async ask(probe: Probe<unknown>, key: string): Promise<void> {
    const atMs = performance.now();
    this.asking.add(probe);
    let value: Answer['value'];
    try {
      value = { known: await probe.ask(this.settings, () => this.connection(), this.tableOid) };
    } catch (error) {
      value = { failed: error instanceof Error ? error.message : String(error) };
    }
    this.asking.delete(probe);
    this.answers.set(probe, { atMs, key, value });
  }

  private connection(): Promise<Connection> {
    if (this.closed) return Promise.reject(new Error('closed'));
    if (!this.opened) {
      const opened = this.open();
      this.opened = opened;
      const forget = () => {
        if (this.opened === opened) this.opened = null;
      };
      opened.then((connection) => connection.on('end', forget), forget);
    }
    return this.opened;
  }

  private async open(): Promise<Connection> {
    const connection = await this.opener('backfill probes', 2_000);
    await connection.query(
      `SET statement_timeout = ${STATEMENT_MS}; SET lock_timeout = 100;
       SET default_transaction_read_only = on`,
    );
    return connection;
  }
}
