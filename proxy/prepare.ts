import type { Rewrite } from '../sql/outcome.js';
import { type Control, type Decision, decide, type GateView, gate } from './gate.js';
import { BIND, CLOSE, DESCRIBE_STATEMENT, EXECUTE, type Kind, PARSE } from './kinds.js';
import { FAILED } from './ledger.js';
import { type Ending, Errand, OWN_NAME } from './lookup.js';
import { writeBind, writeClose, writeDescribe, writeExecute, writeParse } from './messages.js';
import type { HiddenEffect, Statement } from './statements.js';

/** What is done before a message that uses a prepared statement (Bind, Describe). */
export type UseDecision =
  | Decision
  /** It is prepared again first, under the hood, by `Plan`. */
  | { step: 'prepare'; plan: Plan }
  /** The server has to fail here, and the client gets the refusal. */
  | { step: 'refuse'; rewrite: Rewrite; refusal: { message: string; hint: string } };

/** How a statement has to be on the server. */
export interface Plan {
  rewrite: Rewrite | null;
  touches: readonly number[];
  key: string;
  reason: string | null;
}

/**
 * Decides about the use of a statement: whether the server has it as the rules in force want it.
 * The client's own text is what is classified, whatever was made of it before.
 */
export function decideUse(statement: Statement, view: GateView, control: Control): UseDecision {
  const { force } = control;
  const settled = view.ledger.pending === 0;
  if (statement.unconfirmed && !settled) return { step: 'settle' };
  if (isRight(statement, view, control)) {
    if (statement.touches.length === 0) return RIGHT;
    return gate({ rewrite: null, touches: statement.touches, reason: null }, view, control);
  }
  // A failed transaction refuses the message as well as anything that we could do about it.
  // Of one that the server has not, it would say that instead.
  if (isFailed(view) && !statement.missing) return RIGHT;
  if (statement.text === null) return decide(null, 'text-not-kept', view, control);
  const text = Buffer.from(statement.text, 'latin1');
  const decision = decide(text, '', view, control);
  if (decision.step !== 'send') return decision;
  const { rewrite, touches, reason } = decision;
  if (rewrite?.refusal) {
    if (!settled) return { step: 'settle' };
    return { step: 'refuse', rewrite, refusal: rewrite.refusal };
  }
  const plan: Plan = { rewrite, touches, key: force.touchKey(touches), reason };
  const retired = statement.epoch < force.epoch && force.mayHaveRetired(text, statement.epoch);
  const same = statement.plan === plan.key && sameText(statement.rewrite, rewrite);
  if (same && !retired && !isStale(statement, view)) {
    markRight(statement, plan, view, control);
    return { ...decision, rewrite: null };
  }
  return settled ? { step: 'prepare', plan } : { step: 'settle' };
}

/** Whether the server is known to be in a failed transaction, and reads what is sent now. */
export function isFailed({ ledger, status }: Pick<GateView, 'ledger' | 'status'>): boolean {
  return ledger.pending === 0 && status === FAILED && !ledger.openBatch;
}

/** It goes as it is, and touches nothing. */
const RIGHT: Decision = Object.freeze({ step: 'send', rewrite: null, touches: [], reason: null });

/** Whether it was found right under the rules in force, and names still mean the same. */
function isRight(statement: Statement, view: GateView, { force }: Control): boolean {
  if (statement.plan === null || isStale(statement, view)) return false;
  if (statement.checked !== force) return false;
  if (statement.checkedKey === null || !force.rewriter) return true;
  const known = view.resolver.get(force.rewriter.names) !== null;
  return known && statement.checkedKey === view.resolver.key;
}

/** Whether the type of its result may have changed since. */
function isStale(statement: Statement, view: GateView): boolean {
  return statement.schema < view.schema.version && statement.isReturning;
}

/** Records that the server has (or is being sent) the statement as the rules in force want it. */
export function markRight(
  statement: Statement,
  plan: Plan,
  view: GateView,
  { force }: Control,
): void {
  statement.plan = plan.key;
  statement.rewrite = isReplaced(plan.rewrite) ? plan.rewrite : null;
  statement.shape = plan.rewrite?.shape ?? null;
  statement.rewriter = force.rewriter;
  statement.touches = plan.touches;
  statement.checked = force;
  // Without a rewrite the prefilter has said that no name in it matters.
  statement.checkedKey = plan.rewrite ? view.resolver.key : null;
  statement.epoch = force.epoch;
  statement.schema = view.schema.version;
}

/** Whether another text is sent: one that is left to the guard may have edits too. */
export function isReplaced(rewrite: Rewrite | null): rewrite is Rewrite {
  if (rewrite === null || rewrite.refusal !== null || rewrite.outcome === 'unchanged') return false;
  return rewrite.outcome === 'rewritten' || rewrite.edits.length > 0;
}

function sameText(before: Rewrite | null, after: Rewrite | null): boolean {
  const a = isReplaced(before) ? before.text : null;
  const b = isReplaced(after) ? after.text : null;
  return a === b || (a !== null && b !== null && a.equals(b));
}

/** A message of ours, by the kind of its answer and what its success means. */
export type Step = readonly [Kind, HiddenEffect];

/**
 * The messages that prepare a statement again, with the kinds of their answers. Closing a
 * statement leaves the portals made from it alone. One that an SQL DEALLOCATE may have named is
 * deallocated rather than closed, so that the client's message fails as it would have.
 * @param portal that may be in use, to which the client binds the statement; empty: none.
 */
export function prepareAgain(statement: Statement, plan: Plan, portal = ''): Messages {
  const { name, prefix } = statement;
  const free = portal === '' ? NOTHING : tryPortal(portal);
  const text = isReplaced(plan.rewrite)
    ? plan.rewrite.text
    : Buffer.from(statement.text ?? '', 'latin1');
  const prepared =
    prefix === null
      ? single(writeParse(name, text, statement.typesForReparse), PARSE, 'back')
      : command(Buffer.concat([Buffer.from(prefix, 'latin1'), text]), 'back');
  // What the client was told of its result may be true no longer.
  const again =
    statement.told === null
      ? prepared
      : both(prepared, single(writeDescribe(name), DESCRIBE_STATEMENT, 'none'));
  if (name === '') return both(free, again);
  if (!statement.doubtful || statement.lost) {
    return both(free, both(single(writeClose('S', name), CLOSE, 'gone'), again));
  }
  const before = command(`DEALLOCATE "${name.replaceAll('"', '""')}"`, 'gone');
  return both(before, both(free, again));
}

/**
 * Binds an empty statement to a portal's name and closes it. Of a Bind that is wrong twice the
 * server tells that its portal's name is taken, and never comes to what its statement has become.
 */
function tryPortal(portal: string): Messages {
  const bytes = Buffer.concat([
    writeClose('S', OWN_NAME),
    writeParse(OWN_NAME, '', ''),
    writeBind(portal, OWN_NAME),
    writeClose('P', portal),
  ]);
  return { bytes, steps: [CLOSE, PARSE, BIND, CLOSE].map((kind) => [kind, 'none']) };
}

/** An empty statement in the place of one that the server has lost, so that the name is taken. */
export function reserveName({ name, typesForReparse }: Statement): Messages {
  return single(writeParse(name, '', typesForReparse), PARSE, 'reserved');
}

interface Messages {
  bytes: Buffer;
  steps: Step[];
}

const NOTHING: Messages = { bytes: Buffer.alloc(0), steps: [] };

function both(first: Messages, second: Messages): Messages {
  return {
    bytes: Buffer.concat([first.bytes, second.bytes]),
    steps: [...first.steps, ...second.steps],
  };
}

function single(bytes: Buffer, kind: Kind, effect: HiddenEffect): Messages {
  return { bytes, steps: [[kind, effect]] };
}

/** An SQL command, run in the extended protocol under a name of our own. */
function command(text: Buffer | string, effect: HiddenEffect): Messages {
  const bytes = Buffer.concat([
    writeClose('S', OWN_NAME),
    writeParse(OWN_NAME, text, ''),
    writeBind(OWN_NAME, OWN_NAME),
    writeExecute(OWN_NAME),
    writeClose('P', OWN_NAME),
  ]);
  const kinds: Step[] = [CLOSE, PARSE, BIND].map((kind) => [kind, 'none']);
  return { bytes, steps: [...kinds, [EXECUTE, effect], [CLOSE, 'none']] };
}

/** Prepares a statement again before a simple Query that runs it. */
export class Preparation extends Errand {
  private at = 0;

  constructor(
    readonly statement: Statement,
    again: { bytes: Buffer; steps: readonly Step[] },
    synced: boolean,
  ) {
    super(
      again.bytes,
      again.steps.map(([kind]) => kind),
      synced,
      true,
    );
    this.steps = again.steps;
  }

  private readonly steps: readonly Step[];

  override ended(how: Ending, kind: Kind): void {
    super.ended(how, kind);
    const step = this.steps[this.at++];
    if (!step) return;
    if (how === 'answered') this.statement.stepped(step[1]);
    else this.statement.stumbled(step[1], how === 'failed');
  }
}
