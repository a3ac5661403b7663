import type { Resolution, Rewrite } from '../sql/outcome.js';
import { recoded } from '../sql/recoded.js';
import { isSeveral } from '../sql/steady.js';
import type { Force } from './force.js';
import { FAILED, type Ledger } from './ledger.js';
import type { Resolver } from './resolve.js';
import type { SchemaWatch, SharedSchema } from './schema.js';
import type { Sightings } from './sightings.js';
import type { Touches } from './touches.js';

/** What the proxy tells all its sessions, and they each other. */
export interface Control extends SharedSchema {
  force: Force;
  /** The lease is in doubt: everything that touches a table under migration waits. */
  fenced: boolean;
  /** When the server was started at which the lease is, as it says itself; null: not known. */
  started: string | null;
  /** What is seen of the statements on its tables. */
  readonly seen: Sightings;
}

/** What the gate looks at of a session. */
export interface GateView {
  readonly ledger: Pick<
    Ledger<unknown>,
    'pending' | 'openBatch' | 'pushed' | 'batchStart' | 'batchesInFlight' | 'lastReady'
  >;
  readonly resolver: Resolver;
  readonly touches: Touches;
  readonly schema: Pick<SchemaWatch, 'version'>;
  /** The session is at another server than the lease. */
  readonly isElsewhere: boolean;
  /** Transaction status of the last ReadyForQuery; 0 before the first. */
  readonly status: number;
}

/** What is done with a statement that the client is about to send. */
export type Decision =
  /** It goes; `rewrite` null: as it is. `reason`: why it was left to the guard without a look. */
  | { step: 'send'; rewrite: Rewrite | null; touches: readonly number[]; reason: string | null }
  /** Everything before it has to be answered first. */
  | { step: 'settle' }
  /** The server has to be asked what names mean, and how many columns `relations` have. */
  | { step: 'lookup'; relations: readonly string[] }
  /** It waits until the rules change. */
  | { step: 'hold' };

export const AS_IS: Decision = Object.freeze({
  step: 'send',
  rewrite: null,
  touches: [],
  reason: null,
});

/**
 * Decides about one text.
 * @param text null: not known (too large, or prepared in a way that went by unseen).
 * @param reason for a text that is not known.
 * @param isOwn whether the text lies in memory of its own, which stays.
 * @param once whether it is run as it is now, and not kept: what is known of other tables may be used.
 *   Where the server may refuse it without, it is used in any case.
 */
export function decide(
  text: Buffer | null,
  reason: string,
  view: GateView,
  control: Control,
  { once = false, isOwn = false }: { once?: boolean; isOwn?: boolean } = {},
): Decision {
  const { rewriter, oids } = control.force;
  if (!rewriter) return AS_IS;
  if (text === null) return gate({ rewrite: null, touches: oids, reason }, view, control);
  if (!rewriter.mayTouch(text)) return AS_IS;
  const settled = view.ledger.pending === 0;
  const failed = settled && view.status === FAILED && !view.ledger.openBatch;
  // In a failed transaction the server refuses everything but its end; behind that, in one
  // simple Query, there can be more.
  if (failed && !isSeveral(text.toString('latin1'))) return AS_IS;
  const resolution = view.resolver.get(rewriter.names);
  if (!resolution) {
    if (!settled) return { step: 'settle' };
    if (!failed) return { step: 'lookup', relations: [] };
    return gate({ rewrite: null, touches: oids, reason: 'failed-transaction' }, view, control);
  }
  const { plain, escapes, utf8, side } = view.resolver;
  const isSame = control.force.isAscii || utf8;
  const codec = !isSame && (plain || escapes) ? view.resolver.codec : null;
  const asIs = (names: Resolution) =>
    rewriter.rewrite(text, names, isSame && (plain || escapes), side, escapes, isOwn);
  const made = (names: Resolution) => {
    const read = (its: Buffer) => rewriter.rewrite(its, names, true, side, escapes, true);
    return (codec && recoded(codec, text, read)) ?? asIs(names);
  };
  let rewrite = made(resolution);
  const { wants } = rewrite;
  if (wants && (once || wants.isNeeded) && !failed) {
    const { relations } = wants;
    const widths = settled ? view.resolver.takeWidths(relations) : null;
    if (!widths) return settled ? { step: 'lookup', relations } : { step: 'settle' };
    rewrite = made(new Map([...resolution, ...widths]));
  }
  return gate({ rewrite, touches: rewrite.touches, reason: null }, view, control);
}

/** Lets a statement through, or holds it. */
export function gate(
  send: { rewrite: Rewrite | null; touches: readonly number[]; reason: string | null },
  view: GateView,
  { force, fenced }: Control,
): Decision {
  for (const oid of send.touches) {
    if (fenced || view.isElsewhere) return { step: 'hold' };
    if (!force.isHeld(oid) || view.touches.goesOn(oid, view.ledger, view.status)) continue;
    return { step: view.ledger.pending === 0 ? 'hold' : 'settle' };
  }
  return { step: 'send', ...send };
}
