import { BIND, CLOSE, EXECUTE, type Kind, PARSE, SYNC as SYNC_KIND } from './kinds.js';
import { FLUSH, SYNC, writeBind, writeClose, writeExecute, writeParse } from './messages.js';
import { lookupText } from './resolve.js';

/** Name of the statement and the portal that are ours; each use closes what it made. */
export const OWN_NAME = 'pgtandem: own';

export type Ending = 'answered' | 'failed' | 'dropped';

/**
 * Messages of ours on the session's own connection, sent right before a message of the client,
 * which waits until they are answered.
 */
export class Errand {
  /** The server refused it, and the client has been told (a cancel, a timeout). */
  failed = false;
  /** An earlier message of the client's batch had failed. */
  dropped = false;
  readonly kinds: readonly Kind[];
  readonly bytes: Buffer;
  private left: number;

  /**
   * @param synced it ends with Sync, as a batch of its own; else with Flush.
   * @param forQuery the client's message that waits is a simple Query: if this fails, the
   *   ReadyForQuery of our Sync is the one that ends the client's Query.
   */
  constructor(
    bytes: Buffer,
    kinds: readonly Kind[],
    readonly synced: boolean,
    readonly forQuery: boolean,
  ) {
    this.bytes = Buffer.concat([bytes, synced ? SYNC : FLUSH]);
    this.kinds = synced ? [...kinds, SYNC_KIND] : kinds;
    this.left = this.kinds.length;
  }

  get done(): boolean {
    return this.left === 0;
  }

  ended(how: Ending, kind: Kind): void {
    if (how === 'failed') this.failed = true;
    else if (how === 'dropped' && !this.failed) this.dropped = true;
    // A failed Sync still has its ReadyForQuery to come.
    if (!(how === 'failed' && kind === SYNC_KIND)) this.left--;
  }
}

/**
 * The question what names mean, and how many columns some relations have.
 *
 * It is always asked in the extended protocol, under a name of our own: a simple Query would drop
 * the client's unnamed statement and, within a transaction, its unnamed portal. Where nothing of
 * the client's is open that a Sync could end, a Sync ends it, and it leaves no trace. Within a batch
 * that has run something it ends with Flush, since a Sync there would commit what the client has
 * not finished; then the server counts the client's next command as part of a pipeline (from
 * PostgreSQL 15 on), which only commands that refuse transaction blocks can tell.
 */
export class Lookup extends Errand {
  row: readonly (string | null)[] = [];

  constructor(
    readonly names: readonly string[],
    readonly relations: readonly string[],
    synced: boolean,
    forQuery: boolean,
  ) {
    const bytes = Buffer.concat([
      writeClose('S', OWN_NAME),
      writeParse(OWN_NAME, lookupText(names, relations), ''),
      writeBind(OWN_NAME, OWN_NAME),
      writeExecute(OWN_NAME),
      writeClose('P', OWN_NAME),
      writeClose('S', OWN_NAME),
    ]);
    super(bytes, [CLOSE, PARSE, BIND, EXECUTE, CLOSE, CLOSE], synced, forQuery);
  }
}

/**
 * Finds out whether a COPY that has failed has consumed the Syncs before its CopyDone. If not, they
 * end the batch and are answered, each with a ReadyForQuery; else the server is throwing messages
 * away, and our Sync ends that. Either way it ends nothing of the client's: what was under way has
 * failed, and nothing has been sent since. The answer to Close is where the ReadyForQuery that were
 * still to come have come. The ledger swallows the first of all these instead of ours, which the
 * client then gets as the last: they are all alike.
 */
export class CopyProbe extends Errand {
  /** @param before how many ReadyForQuery had come without an entry before it is sent. */
  constructor(private readonly before: number) {
    super(Buffer.concat([SYNC, writeClose('S', OWN_NAME)]), [SYNC_KIND, CLOSE], true, false);
  }

  /** @param now how many have come since. */
  consumed(now: number): boolean {
    return now === this.before;
  }
}
