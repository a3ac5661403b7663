/**
 * In how many parts a stretch of blocks is filled. Pure.
 *
 * PostgreSQL can put a row's new version into the block of the old one, and then no index has to
 * hear of it (HOT: https://www.postgresql.org/docs/current/storage-hot.html). A full block has no
 * room for that. But when an eighth of its rows has been filled, and the transaction is over, the
 * next scan of the block makes the room of their old versions free, and the next eighth finds its
 * place there, and so on: some four fifths of the rows never leave their block, the indexes hardly
 * grow, and neither does the table, without a VACUUM.
 */
export const PARTS = 8;

/** A smaller share of rows that stayed in their blocks is not worth reading them eight times. */
const WORTH_IT = 0.3;

/** Fewer blocks are filled in one: a part of two blocks' rows costs about what its transaction does. */
const SMALLEST = 16;

/** So many stretches are filled in one before parts are tried again, at first and at most. */
const FIRST_PAUSE = 8;
const LONGEST_PAUSE = 128;

/**
 * True of the rows of this part (from 0) and of those before it: by the last byte of the line
 * pointer's number, so that each part takes its share of every block. The last part has no
 * condition: what comes after it does not depend on how rows were told apart.
 */
export function partCondition(part: number, parts: number): string | null {
  if (part >= parts - 1) return null;
  return `pg_catalog.get_byte(pg_catalog.tidsend(ctid), 5) % ${parts} <= ${part}`;
}

/**
 * Learns from what became of the rows. They leave their blocks all the same where an index is on
 * what is filled, or while an old transaction (or a standby's feedback) keeps their old versions.
 */
export class Parts {
  private pause = FIRST_PAUSE;
  private left = 0;

  /** Blocks of the next stretch, at least; null: it is filled in one. */
  get smallest(): number | null {
    return this.left > 0 ? null : SMALLEST;
  }

  /** Parts of the next stretch, of so many blocks: each costs a transaction. */
  count(blocks: number): number {
    return this.smallest === null || blocks < this.smallest ? 1 : PARTS;
  }

  /** A stretch was filled in so many parts; `stayed` of its rows have stayed in their blocks. */
  filled(parts: number, rows: number, stayed: number): void {
    if (parts === 1) {
      this.left = Math.max(0, this.left - 1);
    } else if (rows > 0 && stayed < rows * WORTH_IT) {
      this.left = this.pause;
      this.pause = Math.min(LONGEST_PAUSE, this.pause * 2);
    } else if (rows > 0) {
      this.pause = FIRST_PAUSE;
    }
  }
}
