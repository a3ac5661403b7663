import type { CopyStmt, RawStmt } from 'libpg-query';
import { ownCopy, sameBytes, sampleHash } from './bytes.js';
import { applyDrafts, mapPosition } from './edits.js';
import { escapedConstants, parseEscaped } from './escapes.js';
import type { Statement } from './findings.js';
import { KeyedCache } from './keyed-cache.js';
import { BACKSLASH, skeletonOf } from './literals.js';
import { namedIn } from './named.js';
import { Names, namePattern, signatureOf, tableNames } from './names.js';
import { opaque } from './opaque.js';
import type { Resolution, Rewrite, StatementRewriter } from './outcome.js';
import { loadParser, ParserFailure, parse, SyntaxFailure } from './parser.js';
import { misplacing, Plan, unguarded } from './plan.js';
import { inView, type PreparedTable, prepareRules } from './prepared.js';
import type { RuleSet } from './rules.js';
import { Shapes } from './shapes.js';
import { Misplaced, Source } from './source.js';
import { changesNames, decide, findStatements, touchedBy } from './statement.js';
import { endsTransaction, mayChangeNames } from './steady.js';
import { Templates } from './templates.js';
import { type ByteString, sameTree } from './tree.js';

export { loadParser };

/** From so many bytes on a text is looked for among those seen before a name is looked for in it. */
const LONG_BYTES = 256;
/** Memory of an edit, about. */
const EDIT_BYTES = 200;

export interface RewriterOptions {
  /** Texts whose rewrite is kept. */
  cacheEntries?: number;
  /** Memory that they may take, bytes. */
  cacheBytes?: number;
  /** The longest text that is parsed, bytes; a longer one that may touch is left to the guard. */
  maxParseBytes?: number;
}

/**
 * Makes the rewriter of a rule set; `loadParser` must have resolved.
 *
 * @throws when an expression or a type of the rules is not SQL.
 */
export function makeRewriter(rules: RuleSet, options: RewriterOptions = {}): StatementRewriter {
  const { cacheEntries = 10_000, cacheBytes = 64 << 20, maxParseBytes = 4 << 20 } = options;
  const tables = prepareRules(rules);
  const names = tableNames(rules);
  const pattern = names.length > 0 ? namePattern(names) : null;
  const cache = new KeyedCache<Buffer, Rewrite>(cacheEntries, cacheBytes, sameBytes);
  const templates = new Templates();
  const views = { old: inView(tables, 'old'), new: inView(tables, 'new') };
  const shapes = new Shapes();
  const signed = signer(rules);
  return {
    rules,
    names,
    mayTouch(text) {
      if (!pattern) return false;
      if (text.length > LONG_BYTES) {
        // Most name it at their beginning, and what is in the cache has matched: either costs less than
        // to decode a long text. A name that is cut here is looked for once more before anything is done.
        if (pattern.test(text.toString('latin1', 0, LONG_BYTES))) return true;
        if (cache.has(sampleHash(text), text)) return true;
      }
      return pattern.test(text.toString('latin1'));
    },
    rewrite(text, resolution, plain, view = null, escapes = false, isOwn = false) {
      const escaped = escapes && plain && text.includes(BACKSLASH);
      const signature = (plain ? signed(resolution) : '-') + (view ?? '') + (escaped ? '\\' : '');
      const hash = sampleHash(text);
      const known = cache.get(hash, signature, text);
      if (known) return known;
      const isFit = plain && !escaped && text.length <= maxParseBytes;
      const again = isFit ? templates.again(signature, text, isOwn) : null;
      if (again) return again;
      const skeleton = isFit ? skeletonOf(text) : null;
      const filled = skeleton && templates.fill(signature, skeleton, isOwn);
      if (filled) return filled;
      // A copy of our own: the client's bytes may lie in a chunk that is used again.
      const own = isOwn ? text : ownCopy(text);
      const bytes = own.toString('latin1');
      if (!pattern?.test(bytes)) return unchanged(own, []);
      const seen = view === null ? tables : views[view];
      const settings = { resolution, plain, escaped, maxParseBytes };
      const make = (its: Buffer, bytes: ByteString): [Rewrite, Work] => {
        const work: Work = { tables: seen, ...settings, text: its, bytes };
        const rewrite = rewriteText(work);
        return [withWants(rewrite, work), work];
      };
      const [made, { named }] = make(own, bytes);
      const namedOf = (one: readonly PreparedTable[]) => {
        const read = one.filter((table) => named?.has(table));
        if (read.length === 0) return namedIn(bytes, null, one[0]!);
        return read.flatMap((table) => named!.get(table)!);
      };
      const rewrite = shapes.added(made, bytes, seen, namedOf, !escaped);
      if (skeleton && !rewrite.copies && !rewrite.wants) {
        const remake = (its: Buffer) => make(its, its.toString('latin1'))[0];
        templates.learn(signature, { ...skeleton, text: own }, rewrite, remake);
      }
      // The parser that was not ready now will be; all else stays true for the rule set.
      if (rewrite.reason !== 'parser') {
        const size = own.length + rewrite.text.length + rewrite.edits.length * EDIT_BYTES;
        rewrite.found = { suspect: mayChangeNames(bytes), ends: endsTransaction(bytes) };
        cache.set(hash, signature, own, rewrite, size);
      }
      return rewrite;
    },
    mapPosition,
  };
}

/** So many signatures have a name at once; each relation of another width is in one of its own. */
const SIGNATURES_MAX = 1_000;

/**
 * Short names of the answers' signatures. A session has one answer for a long time, and there may be
 * hundreds of names in it. What has no name any more gets another one: nothing else ever has the old.
 */
function signer(rules: RuleSet): (resolution: Resolution) => string {
  const names = new Map<string, string>();
  let last = 0;
  const known = new WeakMap<Resolution, string>();
  return (resolution) => {
    const name = known.get(resolution);
    if (name !== undefined) return name;
    const signature = signatureOf(rules, resolution);
    if (names.size >= SIGNATURES_MAX && !names.has(signature)) names.clear();
    const own = names.get(signature) ?? `${last++}.`;
    names.set(signature, own);
    known.set(resolution, own);
    return own;
  };
}

function withWants(rewrite: Rewrite, work: Work): Rewrite {
  const { wanted, lists = false, uncounted = false } = work;
  const isOfUse = uncounted || /^(row|whole-row)$/.test(rewrite.reason ?? '');
  if (!isOfUse || !wanted || wanted.size === 0) return rewrite;
  return { ...rewrite, wants: { relations: [...wanted], isNeeded: uncounted && lists } };
}

interface Work {
  text: Buffer;
  bytes: ByteString;
  tables: readonly PreparedTable[];
  resolution: Resolution;
  plain: boolean;
  /** Whether a backslash in it may begin an escape in a plain constant. */
  escaped: boolean;
  maxParseBytes: number;
  /** The watched columns that it names, once it has been read. */
  named?: ReadonlyMap<PreparedTable, readonly ByteString[]>;
  /** Relations of which it was wanted how many columns they have. */
  wanted?: ReadonlySet<string>;
  /** Whether an INSERT without a column list gives that is not known how many values. */
  uncounted?: boolean;
  /** Whether columns are listed because values would not fall into their places. */
  lists?: boolean;
}

function unchanged(text: Buffer, touched: Iterable<PreparedTable>): Rewrite {
  const touches = [...new Set([...touched].map((table) => table.rule.oid))];
  return { outcome: 'unchanged', text, touches, reason: null, refusal: null, edits: [] };
}

function rewriteText(work: Work): Rewrite {
  const { text, bytes, tables } = work;
  if (!work.plain) return opaque(text, bytes, tables, 'encoding');
  if (text.length > work.maxParseBytes) return opaque(text, bytes, tables, 'size');
  let tree: RawStmt[] | null;
  try {
    tree = work.escaped ? parseEscaped(bytes) : parse(bytes);
  } catch (error) {
    if (error instanceof SyntaxFailure) return opaque(text, bytes, tables, 'syntax');
    if (error instanceof ParserFailure) return opaque(text, bytes, tables, error.reason);
    throw error;
  }
  if (!tree) return opaque(text, bytes, tables, 'encoding');
  const names = new Names(tables, work.resolution);
  work.wanted = names.wanted;
  const statements = findStatements(tree, names);
  const touched = touchedBy(statements);
  work.named = new Map([...touched].map((table) => [table, namedIn(bytes, statements, table)]));
  if (changesNames(statements, names)) {
    const writes = statements.some(({ findings }) => findings.writesAny);
    return opaque(text, bytes, tables, 'search-path', writes);
  }
  if (touched.size === 0) return unchanged(text, []);
  return rewriteStatements(work, tree, statements, touched);
}

function rewriteStatements(
  work: Work,
  tree: readonly RawStmt[],
  statements: readonly Statement[],
  touched: ReadonlySet<PreparedTable>,
): Rewrite {
  const { text, bytes } = work;
  const plan = new Plan(new Source(bytes, work.escaped ? escapedConstants(bytes) : null));
  const same = unchanged(text, touched);
  let applied: { text: ByteString; edits: Rewrite['edits'] } | null = null;
  try {
    for (const statement of statements) {
      if (statement.findings.touched.size > 0) decide(plan, statement);
    }
    applied = verified(bytes, plan, tree);
  } catch (error) {
    if (!(error instanceof Misplaced)) throw error;
  }
  if (!applied) abandon(plan, statements);
  work.lists = plan.needed.size > 0;
  work.uncounted = plan.uncounted;
  if (plan.refusal) {
    const { reason, message, hint } = plan.refusal;
    return { ...same, outcome: 'refused', reason, refusal: { message, hint } };
  }
  const reason = plan.writeReason ?? plan.readReason;
  if (!applied || applied.edits.length === 0) {
    return { ...same, outcome: reason === null ? 'unchanged' : 'guarded', reason };
  }
  const copies = copiesOf(plan, statements);
  return {
    ...same,
    outcome: reason === null ? 'rewritten' : 'guarded',
    text: Buffer.from(applied.text, 'latin1'),
    reason,
    edits: applied.edits,
    ...(copies ? { copies } : {}),
  };
}

/** What is done to the rows of each COPY FROM STDIN; null when that is nothing. */
function copiesOf(plan: Plan, statements: readonly Statement[]): Rewrite['copies'] | null {
  if (plan.copies.size === 0) return null;
  return statements.flatMap(({ kind, value }) => {
    const stmt = kind === 'CopyStmt' ? (value as CopyStmt) : null;
    const reads = stmt?.is_from && stmt.filename === undefined && !stmt.is_program;
    return reads ? [plan.copies.get(stmt) ?? null] : [];
  });
}

/**
 * The edited text, when it parses to the tree that the same changes made; else null.
 *
 * @throws Misplaced when two edits overlap.
 */
function verified(
  bytes: ByteString,
  plan: Plan,
  expected: readonly RawStmt[],
): { text: ByteString; edits: Rewrite['edits'] } | null {
  if (plan.drafts.length === 0) return { text: bytes, edits: [] };
  const applied = applyDrafts(bytes, plan.drafts);
  try {
    const { escaped } = plan.source;
    const tree = escaped ? parseEscaped(applied.text) : parse(applied.text);
    return sameTree(tree, expected) ? applied : null;
  } catch (error) {
    if (error instanceof SyntaxFailure || error instanceof ParserFailure) return null;
    throw error;
  }
}

/** The text goes as it is: all that it writes is the guard's, or it is refused. */
function abandon(plan: Plan, statements: readonly Statement[]): void {
  plan.guardRead('unverified');
  for (const { findings } of statements) {
    const { copy } = findings;
    if (copy?.stmt.is_from && copy.table.pairs.length > 0) {
      plan.guardWrite(copy.table, 'unverified');
    }
    for (const { table, kind } of findings.writes) {
      if (table.pairs.length > 0 && kind !== 'delete') plan.guardWrite(table, 'unverified');
      if (kind !== 'delete' && !table.inPlace) plan.refuse('unverified', misplacing(table));
    }
    for (const table of findings.touched) {
      if (table.rule.guard === 'none' && findings.writesAny) {
        plan.refuse('unverified', unguarded(table, 'unverified'));
      }
    }
  }
  for (const table of plan.needed) plan.refuse('unverified', misplacing(table));
}
