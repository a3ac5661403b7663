import { readCommand } from '../../proxy/command.js';
import { widthKey } from '../../sql/names.js';
import type { Rewrite, StatementRewriter } from '../../sql/outcome.js';
import { parse, SyntaxFailure } from '../../sql/parser.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { Pair, RuleSet } from '../../sql/rules.js';
import { fromBytes, toBytes } from '../../sql/tree.js';
import type { Facts, Session } from './session.js';
import { type Kind, type Named, namedIn } from './writes.js';

export { loadParser };

/** What became of the cases of one kind. */
export interface Tally {
  statements: number;
  cases: number;
  outcomes: Map<string, number>;
  reasons: Map<string, number>;
  /** Of the columns, and changes of type, that a plan takes. */
  taken: Map<string, number>;
  /** How many of each are COPY from a file of the server's. */
  files: { outcomes: number; taken: number };
}

/** A text that came out wrong. */
export interface Wrong {
  what: string;
  text: string;
  sent: string;
}

/** How many columns of a table the server is asked about, for each statement. */
const ASKED = 3;

/** Rewrites each statement for each column of its table, and counts what comes out. */
export class Counter {
  readonly tallies = new Map<Kind, Tally>();
  readonly wrong: Wrong[] = [];
  /** Statements that the server does not take as they are. */
  rejected = 0;
  /** Edited texts that the server was asked about. */
  asked = 0;
  statements = 0;
  unparsed = 0;
  /** What is left to the guard or refused: the statements by kind and reason, with their cases. */
  readonly left = new Map<string, Map<string, { cases: number; taken: number }>>();
  /** COPY FROM STDIN of which the data would be changed, by types and what became of it. */
  readonly copies = new Map<string, number>();

  /** To be called before the statement runs. */
  async statement(session: Session, sql: string): Promise<void> {
    this.statements++;
    let named: Named[];
    try {
      named = namedIn(parse(toBytes(sql)));
    } catch (error) {
      if (!(error instanceof SyntaxFailure)) throw error;
      this.unparsed++;
      return;
    }
    if (!session.isPlain) return;
    for (const name of named) {
      const schema = name.schema === undefined ? undefined : fromBytes(name.schema);
      const facts = await session.facts(schema, fromBytes(name.name));
      if (facts && /^[rp]$/.test(facts.kind) && facts.columns) {
        await this.table(session, sql, name, facts);
      }
    }
  }

  private async table(session: Session, sql: string, named: Named, facts: Facts): Promise<void> {
    const tally = this.tally(named.kind);
    // A generated column can not be changed; a read is the same for every column.
    const all = facts.columns.filter(({ generated }) => !generated);
    const columns = named.kind === 'SELECT' || named.kind === 'COPY TO' ? all.slice(0, 1) : all;
    const isStatement = !/^(COPY|PREPARE)/.test(named.kind);
    // What is prepared by SQL is rewritten by itself, as the proxy does it.
    const read =
      (named.kind.startsWith('PREPARE') && readCommand(sql, true)?.prepares?.body) || sql;
    let asked = isStatement ? ASKED : 0;
    // What the server refuses writes nothing, whatever is made of it: it is checked, and not counted.
    const isRejected = named.writes && (await isRefused(session, sql, named.kind));
    let counted = false;
    for (const column of columns) {
      for (const pair of pairsOf(column.name)) {
        const type = pair.backward ? column.type : 'text';
        const rewriter = makeRewriter(rulesOf(facts, pair, type));
        const rewrite = await rewritten(session, rewriter, facts, read);
        const { outcome, reason, text } = rewrite;
        if (rewrite.touches.length === 0) continue;
        if (reason === 'unverified') this.wrong.push({ what: 'unverified', text: sql, sent: '' });
        const isLeft = named.writes && outcome === 'unchanged';
        if (isStatement && (isLeft || (asked > 0 && rewrite.edits.length > 0))) {
          asked--;
          const verdicts = await session.verdicts(facts, sql, pair.follow, type, text);
          if (verdicts) {
            this.asked++;
            const { before, same, edited } = verdicts;
            if (before !== null && !counted) this.rejected++;
            if (before === null && isLeft) {
              this.wrong.push({ what: 'unchanged, and accepted', text: sql, sent: '' });
            }
            // What names whole rows sees the column that was added, edited or not; and where there is
            // no cast at all between two types the copy's cast says so first.
            const isKnown =
              (outcome === 'guarded' && same === edited) ||
              (before === '42804' && edited === '42846');
            if (before !== edited && !isKnown) {
              const what = `${before ?? 'accepted'}, and ${edited ?? 'accepted'} when edited`;
              this.wrong.push({ what, text: sql, sent: text.toString() });
            }
            if (before !== null && edited !== null) return;
          }
        }
        if (isRejected) continue;
        if (!counted) tally.statements++;
        counted = true;
        tally.cases++;
        add(tally.outcomes, outcome);
        const isTaken = column.taken && (pair.backward !== null || column.immutable);
        if (isTaken) add(tally.taken, outcome);
        if (reason === 'copy-file') {
          tally.files.outcomes++;
          if (isTaken) tally.files.taken++;
        }
        if (named.kind === 'COPY FROM' && reason !== 'copy-file') {
          add(this.copies, `${column.type} to ${type}: ${reason ?? outcome}`);
        }
        if (reason === null) continue;
        add(tally.reasons, `${outcome} ${reason}`);
        const left = entryOf(this.left, `${named.kind}: ${reason}`, () => new Map());
        const statement = entryOf(left, sql, () => ({ cases: 0, taken: 0 }));
        statement.cases++;
        if (isTaken) statement.taken++;
      }
    }
  }

  private tally(kind: Kind): Tally {
    let tally = this.tallies.get(kind);
    if (!tally) {
      tally = {
        statements: 0,
        cases: 0,
        outcomes: new Map(),
        reasons: new Map(),
        taken: new Map(),
        files: { outcomes: 0, taken: 0 },
      };
      this.tallies.set(kind, tally);
    }
    return tally;
  }
}

/** COPY of the server's files is not tried: it would write what the scripts write next. */
async function isRefused(session: Session, sql: string, kind: Kind): Promise<boolean> {
  if (kind.startsWith('PREPARE')) return false;
  if (kind !== 'COPY FROM') return session.rejects(sql);
  return /\bfrom\s+stdin\b/i.test(sql) && session.rejectsCopy(sql);
}

/** As the proxy does it: what may be asked of the server is asked. */
async function rewritten(
  session: Session,
  rewriter: StatementRewriter,
  facts: Facts,
  text: string,
): Promise<Rewrite> {
  const names = new Map([[facts.name, facts.oid]]);
  const rewrite = rewriter.rewrite(Buffer.from(text), names, true);
  if (!rewrite.wants) return rewrite;
  // A resolution is known by its identity.
  const resolution = new Map(names);
  for (const relation of rewrite.wants.relations) {
    resolution.set(widthKey(relation), await session.width(relation));
  }
  return rewriter.rewrite(Buffer.from(text), resolution, true);
}

function entryOf<V>(map: Map<string, V>, key: string, make: () => V): V {
  const entry = map.get(key) ?? make();
  map.set(key, entry);
  return entry;
}

function add(map: Map<string, number>, key: string): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}

/** A rename, and a change of type by a cast: both before the cutover. */
function pairsOf(column: string): Pair[] {
  const common = { name: 'corpus', follow: '_pgtandem_new', everyUpdate: true };
  return [
    {
      ...common,
      forward: { texts: ['', ''], columns: [column] },
      backward: { lead: column, value: { texts: ['', ''], columns: ['_pgtandem_new'] } },
    },
    { ...common, forward: { texts: ['(', ')::text'], columns: [column] }, backward: null },
  ];
}

function rulesOf(facts: Facts, pair: Pair, type: string): RuleSet {
  const lead = facts.columns.find(({ name }) => name === pair.forward.columns[0])!;
  const follow = {
    ...lead,
    name: pair.follow,
    type,
    baseType: pair.backward ? lead.baseType : 'text',
    notNull: false,
    identity: null,
    default: null,
    defaultVolatile: false,
  };
  const { oid, schema, name, columns } = facts;
  const rest = { version: 1, held: false, guard: 'repair', pairs: [pair] } as const;
  const visible = columns.map((column) => column.name);
  return {
    epoch: 1,
    tables: [{ oid, schema, name, ...rest, pairs: [pair], columns: [...columns, follow], visible }],
  };
}
