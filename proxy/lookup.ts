import { BIND, CLOSE, EXECUTE, type Kind, PARSE, SYNC as SYNC_KIND } from './ledger.js';
import { FLUSH, SYNC, writeBind, writeClose, writeExecute, writeParse } from './messages.js';
import { lookupText } from './resolve.js';

/** Name of the statement and the portal that are ours; each use closes what it made. */
export const OWN_NAME = 'pgtandem: own';

/**
 * A question of ours on the session's own connection, asked right before a message of the client.
 *
 * It is always asked in the extended protocol, under a name of our own: a simple Query would drop
 * the client's unnamed statement and, within a transaction, its unnamed portal. Where nothing of
 * the client's is open that a Sync could end, a Sync ends it, and it leaves no trace. Within a batch
 * that has run something it ends with Flush, since a Sync there would commit what the client has
 * not finished; then the server counts the client's next command as part of a pipeline (from
 * PostgreSQL 15 on), which only commands that refuse transaction blocks can tell.
 */
export class Lookup {
  row: readonly (string | null)[] = [];
  /** The server refused it, and the client has been told (a cancel, a timeout). */
  failed = false;
  /** An earlier message of the client's batch had failed. */
  dropped = false;
  private left: number;

  /**
   * @param synced it ends with Sync, as a batch of its own.
   * @param forQuery the client's message that waits is a simple Query: if this fails, the
   *   ReadyForQuery of our Sync is the one that ends the client's Query.
   */
  constructor(
    readonly names: readonly string[],
    readonly synced: boolean,
    readonly forQuery: boolean,
  ) {
    this.left = this.kinds.length;
  }

  get kinds(): readonly Kind[] {
    const kinds = [CLOSE, PARSE, BIND, EXECUTE, CLOSE, CLOSE];
    return this.synced ? [...kinds, SYNC_KIND] : kinds;
  }

  get bytes(): Buffer {
    return Buffer.concat([
      writeClose('S', OWN_NAME),
      writeParse(OWN_NAME, lookupText(this.names), ''),
      writeBind(OWN_NAME, OWN_NAME),
      writeExecute(OWN_NAME),
      writeClose('P', OWN_NAME),
      writeClose('S', OWN_NAME),
      this.synced ? SYNC : FLUSH,
    ]);
  }

  get done(): boolean {
    return this.left === 0;
  }

  ended(how: 'answered' | 'failed' | 'dropped', kind: Kind): void {
    if (how === 'failed') this.failed = true;
    else if (how === 'dropped' && !this.failed) this.dropped = true;
    // A failed Sync still has its ReadyForQuery to come.
    if (!(how === 'failed' && kind === SYNC_KIND)) this.left--;
  }
}
