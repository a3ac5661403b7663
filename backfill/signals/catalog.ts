import { ACTIVE_OTHERS_SQL } from '../../db/backend.js';
import type { Connection } from '../../db/connect.js';
import { REPLICATION_SQL, type Replication } from '../../db/replication.js';
import { VIEWS_SQL } from '../../db/views.js';
import { Control } from '../control.js';
import { DEFAULT_THROTTLE, type ThrottleSettings } from '../job.js';
import { Others } from '../others.js';
import type { Signal } from '../throttle.js';
import { active } from './active.js';
import { archiver } from './archiver.js';
import { autovacuum } from './autovacuum.js';
import { horizon } from './horizon.js';
import { latency } from './latency.js';
import { slots } from './slots.js';
import type { CatalogSource } from './source.js';
import { walRate } from './wal-rate.js';

type Source = CatalogSource<unknown, unknown>;

/** Every signal that the catalogs tell, in one query. */
export class CatalogLook {
  /** What is asked from the next look on. */
  settings: ThrottleSettings = DEFAULT_THROTTLE;
  /** What the application is like without the fill. */
  readonly control = new Control(performance.now());
  readonly others = new Others();
  private readonly sources: Source[];
  private look: { atMs: number; answers: Map<Source, unknown> } = { atMs: 0, answers: new Map() };

  /** @param namedOid of the table as applications name it, where that is another. */
  constructor(
    /** What is asked from the next look on is of this table. */
    public tableOid: number,
    namedOid = tableOid,
  ) {
    const all = [slots(), archiver(), active(), walRate(), autovacuum(), horizon()] as unknown[];
    this.sources = [...all, ...latency(namedOid, this.control)] as Source[];
  }

  /**
   * Looks at replication and at all of these, in one round trip: each is work for three processes.
   * @param atMs when it is begun.
   * @throws DatabaseError 55000 on a server that is in recovery.
   * @throws Error when the connection is lost: the catalogs themselves refuse nobody.
   */
  async ask(connection: Connection, atMs: number): Promise<Replication> {
    const wanted = this.sources.filter((source) => isWanted(source, this.settings));
    const texts = [...new Set(wanted.map(({ sql }) => sql))];
    const asked = texts.map((sql, i) => `, ${sql} AS s${i}`).join('');
    const { rows } = await connection.query({
      // Prepared, under a name for each choice of signals: planning it takes longer than running it.
      name: `look ${wanted.map((source) => this.sources.indexOf(source)).join(' ')}`,
      text: `WITH ${VIEWS_SQL}
        SELECT ${REPLICATION_SQL}, $1::oid AS oid, ${ACTIVE_OTHERS_SQL} AS others${asked}`,
      values: [this.tableOid],
    });
    const answers = new Map<Source, unknown>();
    for (const source of wanted) {
      answers.set(source, source.take(rows[0][`s${texts.indexOf(source.sql)}`], atMs));
    }
    this.others.take(rows[0].others, atMs);
    this.look = { atMs, answers };
    return rows[0];
  }

  /** What the last look means; what it did not ask yet is as old as can be. */
  signals(settings: ThrottleSettings, nowMs: number): Signal[] {
    const { atMs, answers } = this.look;
    return this.sources
      .filter((source) => isWanted(source, settings))
      .flatMap((source): Signal[] => {
        const { name, level } = source;
        if (!answers.has(source)) return [unseen(name, level)];
        const judged = source.judge(answers.get(source), settings);
        return judged.map((one) => ({ name, level, ageMs: nowMs - atMs, ...one }));
      });
  }
}

export function isWanted(
  source: Pick<Source, 'name' | 'wanted'>,
  settings: ThrottleSettings,
): boolean {
  return settings.levels?.[source.name] !== 'off' && source.wanted(settings);
}

/** A signal that is asked for and was never observed: it stops the fill as one that is too old. */
export function unseen(name: Signal['name'], level: NonNullable<Signal['level']>): Signal {
  const ageMs = Number.POSITIVE_INFINITY;
  return { name, level, subject: '', observed: null, threshold: Number.NaN, ageMs };
}
