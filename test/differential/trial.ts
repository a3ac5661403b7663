import type { Message } from '../proxy/harness.js';
import { error, row } from '../proxy/wire.js';
import { Client, type Stand } from './client.js';
import { describe, fields } from './compare.js';
import { isWider, mayShow } from './hidden.js';
import { isKnown, markOf, PROOF, sameMoment } from './known.js';
import { type Look, lookOf, type Pair } from './pair.js';
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

/** Name and text; types may have modifiers. */
const PREPARE = /^PREPARE (\w+)(?: \((?:[^()]|\([^()]*\))*\))? AS (.*)$/s;
const OURS = /cannot be rewritten|cached plan must not change result type/;
/** Behind which the first query of a transaction may still be to come: nothing is asked then. */
const CONTROL = /^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET|RESET)[^;]*$/;

/** A session in each of the two databases. */
export class Sessions {
  private constructor(
    readonly plain: Client,
    readonly tandem: Client,
  ) {}

  static async open({ ports, names, types }: Pair): Promise<Sessions> {
    const [plain, tandem] = await Promise.all([
      Client.open(ports.plain, names.plain, types.plain, true),
      Client.open(ports.tandem, names.tandem, types.tandem, false),
    ]);
    return new Sessions(plain, tandem);
  }

  /** As if they were new. */
  async discard(): Promise<void> {
    await Promise.all([this.plain.discard(), this.tandem.discard()]);
  }

  close(): void {
    this.plain.close();
    this.tandem.close();
  }
}

/** How many steps a transaction that has failed goes on, all of which fail. */
const FAILED_STEPS = 2;

/** One case: the same steps in both databases, compared step by step. */
export class Trial {
  /** What was prepared by SQL, by name. */
  private readonly prepared = new Map<string, string>();
  /** Names of statements that both have run. */
  private readonly done = new Set<string>();
  /** The transaction id from which on rows are written that have to be in order. */
  private since = '0';
  /** How often the guard had repaired before the step. */
  private repairs = 0;
  /** Whether the two may have drawn random numbers unequally often. */
  private isUneven = false;

  private constructor(
    private readonly pair: Pair,
    private readonly plain: Client,
    private readonly tandem: Client,
    private isFilled: boolean,
    private readonly counts: Counts,
  ) {}

  /**
   * @param isFresh the rows are put in place anew; else they are as the last phase has left them.
   * @param sessions of no case before, or discarded since; absent: new ones.
   */
  static async run(
    pair: Pair,
    steps: readonly Step[],
    isFresh: boolean,
    counts = new Counts(),
    sessions?: Sessions,
  ): Promise<Failure | null> {
    if (isFresh) await pair.reset();
    const both = sessions ?? (await Sessions.open(pair));
    try {
      return await new Trial(pair, both.plain, both.tandem, !isFresh, counts).all(steps);
    } finally {
      if (!sessions) both.close();
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
      const trial = new Trial(pair, plain, tandem, false, counts);
      for (const { name } of taken) trial.done.add(name);
      const failure = await trial.all(steps);
      return { failure, steps, known: talk.known.filter(({ name }) => trial.done.has(name)) };
    } finally {
      plain.close();
    }
  }

  private async all(steps: readonly Step[]): Promise<Failure | null> {
    this.since = await this.pair.now();
    const [first] = await Promise.all([this.look('I'), this.seed()]);
    this.repairs = first.repairs;
    let failed = 0;
    for (const [i, step] of steps.entries()) {
      const { wrong, status } = await this.each(step);
      if (wrong) return { ...wrong, step: i };
      failed = status === 'E' ? failed + 1 : 0;
      if (failed >= FAILED_STEPS) await this.askBoth('ROLLBACK');
    }
    await this.askBoth('ROLLBACK');
    const rows = await this.sameRows();
    return rows === null ? null : { kind: 'rows', mark: '', step: steps.length, detail: rows };
  }

  private async askBoth(text: string): Promise<void> {
    await Promise.all([this.plain.ask(text), this.tandem.ask(text)]);
  }

  /** Both sessions draw the same random numbers from now on, as long as they draw equally often. */
  private async seed(): Promise<void> {
    this.isUneven = false;
    await this.askBoth('SELECT setseed(0.25)');
  }

  /**
   * What a guard rejects has drawn from sequences, and what stands in its place has not: simple
   * queries are sent one by one then, so that sequences are aligned between them.
   */
  private async each(step: Step): ReturnType<Trial['step']> {
    const isApart = this.pair.world.guard === 'reject' && step[0]!.mode === 'simple';
    let status: string | undefined;
    for (const part of isApart ? step.map((call) => [call]) : [step]) {
      const one = await this.step(part);
      if (one.wrong) return one;
      status = one.status;
    }
    return { wrong: null, status };
  }

  private async step(
    step: Step,
  ): Promise<{ wrong: Omit<Failure, 'step'> | null; status: string | undefined }> {
    const { pair, counts } = this;
    const isRepairing = pair.world.guard === 'repair';
    // What a name stands for is known before its EXECUTE is judged.
    for (const { text } of step) this.rewriteOf(text);
    const answer = await this.tandem.send(step);
    const status = answer.at(-1)?.body.toString('latin1');
    const hasFailed = answer.some(({ type }) => type === 'E');
    const refused = this.refusedOf(step, answer);
    const isQuiet = step.every(({ text }) => CONTROL.test(text));
    const [expected, look] = await Promise.all([
      this.plain.send(step, refused),
      isQuiet && !hasFailed ? null : this.look(isQuiet ? 'E' : status),
    ]);
    counts.statements += step.length;
    for (const call of step) this.count(call);
    const end = (wrong: Omit<Failure, 'step'> | null) => ({ wrong, status });
    const wrong = this.compare(step, answer, expected, refused);
    if (wrong) return end({ kind: 'answer', ...wrong });
    const unverified = step.find(({ text }) => this.reason(text) === 'unverified');
    if (unverified) return end({ kind: 'unverified', mark: '', detail: unverified.text });
    // The guard lets be what a cutover might have made as well.
    const isLet = pair.world.guard !== 'none' && pair.stage === 'soaking' && this.isLeft(step);
    this.isFilled ||= isLet;
    if (!hasFailed) for (const { name } of step) this.done.add(name);
    if (look?.wrong && !isLet && !(isRepairing && this.isLeft(step))) {
      return end({ kind: 'relation', mark: '', detail: look.wrong });
    }
    const repaired = look ? look.repairs - this.repairs : 0;
    this.repairs += repaired;
    if (repaired > 0) counts.add('repaired', repaired);
    if (repaired > 0 && !pair.isMadeByTriggers && !this.isLeft(step)) {
      const detail = `${repaired} repairs of what was rewritten`;
      return end({ kind: 'repaired', mark: '', detail });
    }
    if (hasFailed && look) await pair.align(look);
    this.isUneven ||= hasFailed && step.some(({ text }) => /random|^EXECUTE/i.test(text));
    if (this.isUneven && status !== 'E') await this.seed();
    return end(null);
  }

  /**
   * What is to be seen behind a step: in the session itself while it is in a transaction, else past
   * the proxy. In one that has failed only what no transaction holds.
   */
  private async look(status: string | undefined): Promise<Look> {
    const { pair, tandem } = this;
    if (status !== 'T') return pair.look(this.since, this.isFilled, status !== 'E');
    const answer = await tandem.ask(pair.lookSql(this.isFilled).replaceAll('$1', this.since));
    const [, found] = answer;
    if (found?.type === 'D') return lookOf(row(found.body));
    const failed = answer.find(({ type }) => type === 'E');
    const said = failed ? fields(failed.body) : answer.map(({ type }) => type);
    return {
      wrong: `the check failed: ${JSON.stringify(said)}`,
      repairs: this.repairs,
      sequences: [],
    };
  }

  /** What the rewriter has made of a text; of PREPARE and EXECUTE, of what is prepared. */
  private rewriteOf(text: string) {
    return this.pair.front.outcomes.get(this.inner(text));
  }

  /** The text itself; of PREPARE and EXECUTE, that of what is prepared. */
  private inner(text: string): string {
    const [, name = '', inner = ''] = PREPARE.exec(text) ?? [];
    if (name) this.prepared.set(name, inner);
    const used = /^EXECUTE (\w+)/.exec(text)?.[1];
    return used ? (this.prepared.get(used) ?? '') : inner || text;
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

  /** The calls that the proxy has refused itself, or the guard of what was left to it. */
  private refusedOf(step: Step, answer: readonly Message[]): Map<Call, Stand> {
    const found = new Map<Call, Stand>();
    const isSimple = step[0]!.mode === 'simple';
    let at = 0;
    let done = 0;
    for (const message of answer) {
      if (message.type === 'C' || message.type === 'I') done++;
      if (message.type === 'E' && OURS.test(error(message).message)) {
        this.counts.add('refusals');
        // Each simple query has its answer; a batch has one error at most.
        const call = isSimple
          ? step[at]
          : (step.find(({ text }) => this.outcome(text) === 'refused') ?? step[0]);
        if (call) found.set(call, 'refused');
      }
      if (message.type === 'E' && this.isRejection(fields(message.body))) {
        const call = step[isSimple ? at : done];
        if (call && this.isLeft([call])) {
          this.counts.add('rejected by the guard');
          found.set(call, 'rejected');
        }
      }
      if (message.type === 'Z') at++;
    }
    return found;
  }

  /** Of an added column NOT NULL says it first. */
  private isRejection({ C, c, n }: Record<string, string>): boolean {
    const { world, view } = this.pair;
    const isHidden = C === '23502' && view.columns.every(({ name }) => name !== c);
    return world.guard === 'reject' && (isHidden || PROOF.test(n ?? ''));
  }

  private compare(
    step: Step,
    answer: readonly Message[],
    expected: readonly Message[],
    stands: ReadonlyMap<Call, Stand>,
  ): { detail: string; mark: string } | null {
    const { catalogs } = this.pair;
    const ordered = step.length === 1 && step[0]!.ordered;
    const rowless = step.some((call) => call.rowless);
    const alias = step.find((call) => call.alias)?.alias;
    const shown = { ordered, rowless, alias };
    const [seen, wanted] = sameMoment(
      describe(compared(step, answer, stands), { catalog: catalogs.tandem, ...shown }),
      describe(compared(step, expected, stands), { catalog: catalogs.plain, ...shown }),
      ordered,
    );
    if (seen.some((line) => line.startsWith('E '))) this.counts.add('failed');
    const only = step.length === 1 ? step[0]!.text : null;
    const pairs = Array.from({ length: Math.max(seen.length, wanted.length) }, (_, i) => i).filter(
      (i) => seen[i] !== wanted[i] && !isKnown(seen[i], wanted[i], stands.size > 0, only),
    );
    if (pairs.length === 0) return null;
    const isShowing = pairs.every((i) => /^[TDd] /.test(`${seen[i]}${wanted[i]}`));
    const showing = isShowing && step.find((call) => this.mayShow(call));
    if (showing) {
      const isMore = isWider(
        { messages: compared(step, answer, stands), catalog: catalogs.tandem, alias },
        { messages: compared(step, expected, stands), catalog: catalogs.plain, alias },
        (name) => !this.pair.view.columns.some((column) => column.name === name),
      );
      if (isMore) this.counts.add(`hidden columns show: ${this.reason(showing.text)}`);
      if (isMore) return null;
    }
    const detail = pairs.map((i) => `expected ${wanted[i]}\n     saw ${seen[i]}`);
    const first = pairs[0]!;
    return { detail: detail.slice(0, 4).join('\n'), mark: markOf(wanted[first], seen[first]) };
  }

  /** Whether a call may see hidden columns. */
  private mayShow({ text }: Call): boolean {
    return this.outcome(text) === 'guarded' && mayShow(this.reason(text), this.inner(text));
  }

  private async sameRows(): Promise<string | null> {
    const { pair } = this;
    const sql = pair.rowsSql;
    const [plain, tandem, look] = await Promise.all([
      pair.rows(pair.plain, sql),
      pair.rows(pair.front.control, sql),
      this.look('I'),
    ]);
    if (plain.join('\n') !== tandem.join('\n')) {
      const more = tandem.filter((row) => !plain.includes(row));
      const less = plain.filter((row) => !tandem.includes(row));
      return `expected ${less.slice(0, 3).join(' ')}\n     saw ${more.slice(0, 3).join(' ')}`;
    }
    return look.wrong;
  }
}

/** How far a simple query came before the guard rejected a row is not compared: only how it ended. */
function compared(
  step: Step,
  messages: readonly Message[],
  stands: ReadonlyMap<Call, Stand>,
): Message[] {
  if (step[0]!.mode !== 'simple') return [...messages];
  let at = 0;
  return messages.filter(({ type }) => {
    const isLeft = type !== 'Z' && stands.get(step[at]!) === 'rejected';
    if (type === 'Z') at++;
    return !isLeft;
  });
}
