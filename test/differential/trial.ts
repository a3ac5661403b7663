import { quoteIdentifier as q } from '../../sql/rules.js';
import type { Message } from '../proxy/harness.js';
import { error } from '../proxy/wire.js';
import { Client } from './client.js';
import { describe, fields } from './compare.js';
import type { Pair } from './pair.js';
import type { Call, Step, Talk } from './talk.js';

/** What came out wrong. */
export interface Failure {
  kind: 'answer' | 'relation' | 'repaired' | 'unverified' | 'rows' | 'broken';
  /** Number of the step after which it was seen. */
  step: number;
  detail: string;
  /** What has to be the same for it to be the same failure. */
  mark: string;
}

/** What was counted over many cases. */
export class Counts {
  readonly by = new Map<string, number>();
  statements = 0;

  add(what: string, n = 1): void {
    this.by.set(what, (this.by.get(what) ?? 0) + n);
  }
}

const OURS = /cannot be rewritten|cached plan must not change result type/;
/** Behind which the first query of a transaction may still be to come: nothing is asked then. */
const CONTROL = /^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET|RESET)/;

/** One case: the same steps in both databases, compared step by step. */
export class Trial {
  /** What was prepared by SQL, by name. */
  private readonly prepared = new Map<string, string>();
  /** Names of statements that both have run. */
  private readonly done = new Set<string>();

  private constructor(
    private readonly pair: Pair,
    private readonly plain: Client,
    private readonly tandem: Client,
    private readonly since: string,
    private readonly isFilled: boolean,
    private readonly counts: Counts,
  ) {}

  /** @param isFresh the rows are put in place anew; else they are as the last phase has left them. */
  static async run(
    pair: Pair,
    steps: readonly Step[],
    isFresh: boolean,
    counts = new Counts(),
  ): Promise<Failure | null> {
    if (isFresh) await pair.reset();
    const { ports, names, types } = pair;
    const plain = await Client.open(ports.plain, names.plain, types.plain, true);
    const tandem = await Client.open(ports.tandem, names.tandem, types.tandem, false);
    try {
      const trial = new Trial(pair, plain, tandem, await pair.now(), !isFresh, counts);
      return await trial.all(steps);
    } finally {
      plain.close();
      tandem.close();
    }
  }

  /**
   * The same in a session that goes on through the stages; what it has prepared is prepared in the
   * new session of the plain database, which was made anew.
   * @returns what went wrong, and what both know from now on.
   */
  static async goOn(
    pair: Pair,
    tandem: Client,
    talk: Talk,
    count: number,
    counts: Counts,
  ): Promise<{ failure: Failure | null; steps: Step[]; known: Call[] }> {
    await pair.reset();
    const { ports, names, types } = pair;
    const plain = await Client.open(ports.plain, names.plain, types.plain, true);
    try {
      const taken: Call[] = [];
      for (const call of talk.known) if (await plain.prepare(call)) taken.push(call);
      talk.known = [...taken];
      counts.add('prepared in an earlier stage', taken.length);
      const steps = Array.from({ length: count }, () => talk.next());
      // The plain side's session is another one, in which no sequence has been drawn from.
      await tandem.ask('DISCARD SEQUENCES');
      const trial = new Trial(pair, plain, tandem, await pair.now(), false, counts);
      for (const { name } of taken) trial.done.add(name);
      const failure = await trial.all(steps);
      return { failure, steps, known: talk.known.filter(({ name }) => trial.done.has(name)) };
    } finally {
      plain.close();
    }
  }

  private async all(steps: readonly Step[]): Promise<Failure | null> {
    await this.seed();
    for (const [i, step] of steps.entries()) {
      const wrong = await this.step(step);
      if (wrong) return { ...wrong, step: i };
    }
    await this.plain.ask('ROLLBACK');
    await this.tandem.ask('ROLLBACK');
    const rows = await this.sameRows();
    return rows === null ? null : { kind: 'rows', mark: '', step: steps.length, detail: rows };
  }

  /** Both sessions draw the same random numbers from now on, as long as they draw equally often. */
  private async seed(): Promise<void> {
    for (const client of [this.plain, this.tandem]) await client.ask('SELECT setseed(0.25)');
  }

  private async step(step: Step): Promise<Omit<Failure, 'step'> | null> {
    const { pair, counts } = this;
    const isRepairing = pair.world.guard === 'repair';
    const before = isRepairing ? await pair.repaired() : 0;
    const answer = await this.tandem.send(step);
    const refused = this.refusedOf(step, answer);
    const expected = await this.plain.send(step, refused);
    counts.statements += step.length;
    for (const call of step) this.count(call);
    const wrong = this.compare(step, answer, expected, refused.size > 0);
    if (wrong) return { kind: 'answer', ...wrong };
    const unverified = step.find(({ text }) => this.reason(text) === 'unverified');
    if (unverified) return { kind: 'unverified', mark: '', detail: unverified.text };
    if (answer.every(({ type }) => type !== 'E')) for (const { name } of step) this.done.add(name);
    const status = answer.at(-1)?.body.toString('latin1');
    if (status !== 'E' && !step.every(({ text }) => CONTROL.test(text))) {
      const broken = await this.disorder();
      if (broken && !(isRepairing && this.isLeft(step)))
        return { kind: 'relation', mark: '', detail: broken };
    }
    const repaired = isRepairing ? (await pair.repaired()) - before : 0;
    if (repaired > 0) counts.add('repaired', repaired);
    if (repaired > 0 && !pair.isMadeByTriggers && !this.isLeft(step)) {
      return { kind: 'repaired', mark: '', detail: `${repaired} repairs of what was rewritten` };
    }
    if (answer.some(({ type }) => type === 'E')) {
      await pair.align();
      if (status !== 'E') await this.seed();
    }
    return null;
  }

  /** What the rewriter has made of a text; of PREPARE and EXECUTE, of what is prepared. */
  private rewriteOf(text: string) {
    const { outcomes } = this.pair.front;
    const [, name = '', inner = ''] = /^PREPARE (\w+)(?: \([^)]*\))? AS (.*)$/s.exec(text) ?? [];
    if (name) this.prepared.set(name, inner);
    const used = /^EXECUTE (\w+)/.exec(text)?.[1];
    return outcomes.get(used ? (this.prepared.get(used) ?? '') : inner || text);
  }

  private outcome(text: string): string {
    return this.rewriteOf(text)?.outcome ?? 'unseen';
  }

  private reason(text: string): string | null {
    return this.rewriteOf(text)?.reason ?? null;
  }

  private count({ text, mode }: Call): void {
    const outcome = this.outcome(text);
    this.counts.add(outcome);
    this.counts.add(`mode ${mode}`);
    const reason = this.reason(text);
    if (reason) this.counts.add(`${outcome}: ${reason}`);
  }

  /** Whether some of it is left to the guard, and known to be. */
  private isLeft(step: Step): boolean {
    return step.some(({ text, blind }) => blind || this.outcome(text) === 'guarded');
  }

  /** The calls that the proxy has refused itself. */
  private refusedOf(step: Step, answer: readonly Message[]): Set<Call> {
    const found = new Set<Call>();
    let at = 0;
    for (const message of answer) {
      if (message.type === 'E' && OURS.test(error(message).message)) {
        this.counts.add('refusals');
        // Each simple query has its answer; a batch has one error at most.
        const isSimple = step[at]?.mode === 'simple';
        const call = isSimple
          ? step[at]
          : (step.find(({ text }) => this.outcome(text) === 'refused') ?? step[0]);
        if (call) found.add(call);
      }
      if (message.type === 'Z') at++;
    }
    return found;
  }

  private compare(
    step: Step,
    answer: readonly Message[],
    expected: readonly Message[],
    isRefused: boolean,
  ): { detail: string; mark: string } | null {
    const { catalogs } = this.pair;
    const ordered = step.length === 1 && step[0]!.ordered;
    const rowless = step.some((call) => call.rowless);
    const alias = step.find((call) => call.alias)?.alias;
    const shown = { ordered, rowless, alias };
    const [seen, wanted] = sameMoment(
      describe(answer, { catalog: catalogs.tandem, ...shown }),
      describe(expected, { catalog: catalogs.plain, ...shown }),
    );
    if (seen.some((line) => line.startsWith('E '))) this.counts.add('failed');
    const pairs = Array.from({ length: Math.max(seen.length, wanted.length) }, (_, i) => i).filter(
      (i) => seen[i] !== wanted[i] && !isKnown(seen[i], wanted[i], isRefused),
    );
    if (pairs.length === 0) return null;
    const isShowing = pairs.every((i) => /^[TDd] /.test(`${seen[i]}${wanted[i]}`));
    const left = step.find(({ text }) => this.outcome(text) === 'guarded');
    if (isShowing && left) {
      this.counts.add(`hidden columns show: ${this.reason(left.text)}`);
      return null;
    }
    const detail = pairs.map((i) => `expected ${wanted[i]}\n     saw ${seen[i]}`);
    const first = pairs[0]!;
    return { detail: detail.slice(0, 4).join('\n'), mark: markOf(wanted[first], seen[first]) };
  }

  /** Rows that are not in order, seen in the session itself. */
  private async disorder(): Promise<string | null> {
    const { pair, tandem } = this;
    const late = pair.stage === 'dual-writing' ? `xmin::text::int8 >= ${this.since} AND` : '';
    const relation = this.isFilled ? pair.lenient : pair.strict;
    const answer = await tandem.ask(
      `SELECT id FROM public.${q(pair.world.table)} WHERE ${late} NOT (${relation})`,
    );
    const rows = answer.filter(({ type }) => type === 'D');
    if (answer[0]?.type === 'E')
      return `the check failed: ${JSON.stringify(fields(answer[0].body))}`;
    return rows.length > 0 ? `${rows.length} rows are not in order` : null;
  }

  private async sameRows(): Promise<string | null> {
    const { pair } = this;
    const names = pair.view.columns.map(({ name }) => q(name)).join(', ');
    const table = `public.${q(pair.world.table)}`;
    for (const query of [
      `SELECT ${names} FROM ${table} ORDER BY id`,
      'SELECT * FROM public.o ORDER BY id',
      'SELECT * FROM public.audit ORDER BY op, id, note, n',
    ]) {
      const config = { text: query, rowMode: 'array' as const };
      const plain = (await pair.plain.query(config)).rows.map((row) => JSON.stringify(row));
      const tandem = (await pair.front.control.query(config)).rows.map((row) =>
        JSON.stringify(row),
      );
      if (plain.join('\n') === tandem.join('\n')) continue;
      const more = tandem.filter((row) => !plain.includes(row));
      const less = plain.filter((row) => !tandem.includes(row));
      return `${query}\nexpected ${less.slice(0, 3).join(' ')}\n     saw ${more.slice(0, 3).join(' ')}`;
    }
    const late = pair.stage === 'dual-writing' ? `xmin::text::int8 >= ${this.since} AND` : '';
    const relation = this.isFilled ? pair.lenient : pair.strict;
    const { rows } = await pair.front.control.query(
      `SELECT id FROM ${table} WHERE ${late} NOT (${relation})`,
    );
    return rows.length > 0 ? `rows ${rows.map(({ id }) => id).join(', ')} are not in order` : null;
  }
}

/**
 * A constant that is out of its type's range is found when the statement is planned (at Bind) or when
 * it runs, as the plan has it: what was answered in between is left out where the errors are the same.
 */
function sameMoment(seen: string[], wanted: string[]): [string[], string[]] {
  const behind = (lines: string[]) => {
    const at = lines.findIndex((line) => /^E .*"C":"22/.test(line));
    let from = at;
    while (from > 0 && /^[2Tn] /.test(lines[from - 1]!)) from--;
    return at < 0
      ? null
      : { error: lines[at], rest: [...lines.slice(0, from), ...lines.slice(at)] };
  };
  const [a, b] = [behind(seen), behind(wanted)];
  return a && b && a.error === b.error ? [a.rest, b.rest] : [seen, wanted];
}

/**
 * The known differences between errors. Of several rows that violate a unique key the first is told,
 * and which that is depends on the plan. The others are of statements that are wrong on any data: where there is
 * no cast at all between two types, the copy's cast says so (42846) before the assignment does
 * (42804), at the same place. Where a parameter is given two types (42P08), the copy's cast decides
 * which of its uses is called the wrong one.
 */
function isKnown(
  seen: string | undefined,
  wanted: string | undefined,
  isRefused: boolean,
): boolean {
  if (!seen?.startsWith('E ') || !wanted?.startsWith('E ')) return false;
  const [a, b] = [JSON.parse(seen.slice(2)), JSON.parse(wanted.slice(2))];
  if (isRefused && a.C === '0A000') return true;
  // What is wrong with a VALUES list that is sorted or limited has no place.
  const placed = b.P !== undefined;
  if (a.C === '23505' && b.C === '23505') return a.n === b.n;
  // With a guard COPY writes row by row, without one many at once: which of two rows fails first.
  if (a.C === '23505' && /^COPY /.test(a.W ?? '') && /^COPY /.test(b.W ?? '')) return true;
  if (a.C === '42846' && b.C === '42804' && (!placed || a.P === b.P)) return true;
  if (/^428(04|46)$/.test(a.C) && a.C === b.C && !placed) return a.M === b.M;
  if (a.C === '42846' && b.C === '42846') return a.M === b.M && a.P === b.P;
  // Of two mistakes that are in the text itself, whatever the data, either may be told.
  if (a.M !== b.M && OF_TEXT.has(a.C) && OF_TEXT.has(b.C)) return true;
  // What is moved stands in VALUES, in the words of which a set or an aggregate is refused.
  if (/not allowed in VALUES/.test(a.M)) return a.C === b.C;
  return a.C === '42P08' && b.C === '42P08' && a.M === b.M;
}

/** What analysing a statement finds: types that do not fit, constants that are none of theirs. */
const OF_TEXT = new Set(['42804', '42846', '42P08', '22P02', '22007', '22003']);

/** Kinds of the messages that differ, with their SQLSTATE. */
function markOf(...lines: (string | undefined)[]): string {
  return lines.map((line) => `${line?.[0]}${/"C":"(.{5})"/.exec(line ?? '')?.[1] ?? ''}`).join();
}
