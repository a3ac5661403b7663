import type { Checkpoint } from './checkpoint.js';
import { ChunkSizer } from './chunk.js';
import type { Chunk } from './fill.js';
import { Parts } from './parts.js';
import type { Left } from './vacuum.js';

/** Blocks from the checkpoint on that are being filled, in parts. */
export interface Stretch extends Chunk {
  /** Of the parts that are done: rows, those that stayed in their blocks, the longest part. */
  rows: number;
  stayed: number;
  ms: number;
}

const NOTHING: Left = { blocks: 0, rows: 0, moved: 0 };

/** Which chunk comes next, and what is learned from those that were filled or given up. Pure. */
export class Stretches {
  private readonly sizer = new ChunkSizer();
  private readonly parts = new Parts();
  private current: Stretch | null = null;
  /** Since the last VACUUM, or since it started. */
  left: Left = { ...NOTHING };

  /** Attempts that have failed since the last chunk that was filled. */
  get failures(): number {
    return this.sizer.failures;
  }

  /** Whether a stretch is filled in some of its parts only. */
  get isWithin(): boolean {
    return this.current !== null;
  }

  next({ nextBlock, endBlock }: Checkpoint, targetMs: number): Stretch {
    if (this.current) return this.current;
    const blocks = Math.min(endBlock - nextBlock, this.sizer.size(targetMs));
    return { blocks, part: 0, parts: this.parts.count(blocks), rows: 0, stayed: 0, ms: 0 };
  }

  /** A part was filled: the next one comes, or the whole is learned from. */
  filled(stretch: Stretch, rows: number, stayed: number, ms: number): void {
    const so = {
      ...stretch,
      rows: stretch.rows + rows,
      stayed: stretch.stayed + stayed,
      ms: Math.max(stretch.ms, ms),
    };
    if (so.part + 1 < so.parts) {
      this.current = { ...so, part: so.part + 1 };
      return;
    }
    this.current = null;
    // The target is of each transaction, so the longest part tells how many blocks come next.
    this.sizer.filled(so.blocks, so.ms);
    this.parts.filled(so.parts, so.rows, so.stayed);
    this.left.blocks += so.blocks;
    this.left.rows += so.rows;
    this.left.moved += so.rows - so.stayed;
  }

  /** A chunk of so many blocks was given up: half of it comes next, from its first part on. */
  failed(blocks: number): void {
    this.sizer.failed(blocks);
    this.current = null;
  }

  /** The table has another file. */
  restarted(): void {
    this.current = null;
    this.vacuumed();
  }

  vacuumed(): void {
    this.left = { ...NOTHING };
  }
}
