import { IDLE } from './ledger.js';

/**
 * Whether the tag of a command has to be read where nothing is under migration: it changes what
 * prepared statements there are, what they give, or opens a cursor. Looks at some letters only.
 */
export function tagMatters(buf: Buffer, at: number, changed: boolean): boolean {
  switch (buf[at]) {
    case 0x41: // ALTER; not ANALYZE
      return buf[at + 1] === 0x4c;
    case 0x43: // CREATE, COMMIT PREPARED; not COMMIT, COPY, CLOSE, CALL
      return buf[at + 1] === 0x52 || buf[at + 6] === 0x20;
    case 0x44: // DEALLOCATE, DISCARD, DECLARE, DROP, DO; not DELETE
      return buf[at + 2] !== 0x4c;
    case 0x49: // IMPORT; not INSERT
      return buf[at + 1] === 0x4d;
    case 0x50: // PREPARE
      return true;
    case 0x52: // ROLLBACK; RELEASE, RESET, REFRESH, REVOKE do no harm
      return changed;
    default:
      return false;
  }
}

/**
 * Whether it is the tag of a query or of a write of rows (SELECT, INSERT, UPDATE, DELETE), of which
 * nothing follows for what is known of the session. Looks at its first letters, which no other tag has.
 */
export function isPlainTag(buf: Buffer, at: number): boolean {
  switch (buf[at]) {
    case 0x53: // SELECT; not SET, SAVEPOINT, START TRANSACTION, SHOW, SECURITY LABEL
      return buf[at + 1] === 0x45 && buf[at + 2] === 0x4c;
    case 0x49: // INSERT; not IMPORT FOREIGN SCHEMA
      return buf[at + 1] === 0x4e;
    case 0x55: // UPDATE; not UNLISTEN
      return buf[at + 1] === 0x50;
    case 0x44: // DELETE; not DEALLOCATE, DECLARE CURSOR, DISCARD, DO, DROP
      return buf[at + 1] === 0x45 && buf[at + 2] === 0x4c;
    default:
      return false;
  }
}

/** Objects whose change leaves the type of every query's result alone. */
const APART =
  'INDEX|ROLE|USER|GROUP|SYSTEM|DATABASE|SEQUENCE|DEFAULT|PUBLICATION|SUBSCRIPTION|POLICY|TRIGGER|' +
  'EVENT TRIGGER|STATISTICS|TABLESPACE|SERVER|LARGE OBJECT|TEXT SEARCH|ACCESS METHOD|LANGUAGE|' +
  'PROCEDURE|TRANSFORM|CONVERSION|USER MAPPING';
const FOR_ALL = new RegExp(
  `^(?:(?:ALTER|DROP) (?!${APART})|CREATE (?:VIEW|FUNCTION|AGGREGATE|OPERATOR|CAST|RULE|EXTENSION)|` +
    'DO$|IMPORT|COMMIT PREPARED)',
);
const FOR_ITSELF = /^(?:CREATE (?:TABLE|MATERIALIZED VIEW|FOREIGN TABLE|SCHEMA)|DISCARD TEMP)/;

/** What the sessions of one database share in this process. */
export interface SharedSchema {
  /** Grows whenever a command has committed that may change the type of a query's result. */
  schema: number;
}

/** What one session knows of changes to the types of what its prepared statements give. */
export class SchemaWatch {
  /** A command that may change them was sent, and all has not been answered since. */
  open = false;
  /** This session has made temporary tables: those that it drops are of nobody else. */
  private temporary = false;
  /** Changes that are seen by this session only, or not by others yet. */
  private own = 0;
  /** Something in the present transaction: may be undone, is told to the others at its end. */
  private changed = false;
  private changedForAll = false;

  constructor(private readonly shared: SharedSchema) {}

  /** A statement that was prepared under an older number may give another type now. */
  get version(): number {
    return this.shared.schema + this.own;
  }

  /** Whether statements are to be looked at. */
  get active(): boolean {
    return this.open || this.shared.schema + this.own > 0;
  }

  /** Whether the end of the present transaction matters. */
  get isChanged(): boolean {
    return this.changed;
  }

  /** A command that may change result types is being sent. */
  sent(temporary: boolean): void {
    this.open = true;
    this.changed = true;
    if (temporary) this.temporary = true;
  }

  /** A command has ended. */
  tagged(tag: string): void {
    if (FOR_ALL.test(tag)) {
      if (!(this.temporary && tag === 'DROP TABLE')) this.changedForAll = true;
    } else if (!FOR_ITSELF.test(tag) && !(this.changed && tag === 'ROLLBACK')) return;
    this.changed = true;
    this.own++;
  }

  /** ReadyForQuery came, and is not told to the client yet. */
  ready(status: number, settled: boolean): void {
    if (!this.changed || status !== IDLE) return;
    // Once more: what was prepared within the transaction may have been rolled back under it.
    this.own++;
    if (this.changedForAll) this.shared.schema++;
    this.changedForAll = false;
    if (!settled) return;
    this.changed = false;
    this.open = false;
  }

  /** The server has refused a statement whose result would have changed: somebody has altered. */
  found(): void {
    this.shared.schema++;
  }

  /** search_path is another. */
  namesChanged(): void {
    this.own++;
  }

  /** The connection to the server is gone; a commit may have gone through untold. */
  gone(): void {
    if (this.changed) this.shared.schema++;
  }
}
