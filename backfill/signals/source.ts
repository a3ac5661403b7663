import type { Connection } from '../../db/connect.js';
import type { Level, ThrottleSettings } from '../job.js';
import type { Signal, SignalName } from '../throttle.js';

/** What a signal's file makes of an answer; the rest of a {@link Signal} is the same for all. */
export type Judged = Pick<
  Signal,
  'subject' | 'observed' | 'threshold' | 'factorMax' | 'floor' | 'delayMs'
> & {
  detail: string;
};

interface Kind<Answer> {
  readonly name: SignalName;
  /** Unless the settings say otherwise. */
  readonly level: Level;
  /** Whether these settings ask for it. */
  wanted(settings: ThrottleSettings): boolean;
  /** What an answer means under these settings. Pure. */
  judge(answer: Answer, settings: ThrottleSettings): Judged[];
}

/**
 * A signal that the catalogs tell at once. What all of them ask is put into one query, which is part
 * of every look. `Raw` is what the server answers.
 */
export interface CatalogSource<Raw, Answer = Raw> extends Kind<Answer> {
  /**
   * A scalar of type json, behind `VIEWS_SQL` of `db/views.ts`; `$1` is the table's oid. Anybody may ask it,
   * and it waits for no lock. What several ask in the same words is asked once.
   */
  readonly sql: string;
  /** Puts an answer beside those before it, where time matters; the clock is the caller's. */
  take(raw: Raw, atMs: number): Answer;
}

/** A signal that can be slow or fail: it is asked beside the others, and has an age of its own. */
export interface Probe<Answer> extends Kind<Answer> {
  /** What it is asked about; an answer about something else is forgotten. */
  key(settings: ThrottleSettings, tableOid: number): string;
  /**
   * @param connection opens, or gives, a read-only connection on which a statement takes a second
   *   at most.
   * @throws Error when it cannot be known, which is a reason.
   */
  ask(
    settings: ThrottleSettings,
    connection: () => Promise<Connection>,
    tableOid: number,
  ): Promise<Answer>;
}
