import { setTimeout as delay } from 'node:timers/promises';
import { complaint, type Reply } from './check.js';
import { Connection, describe, isLoss, type Protocol } from './connection.js';
import type { Model } from './model.js';
import { nextOperation, type Operation, statementCount } from './operations.js';
import type { Pace } from './pace.js';
import type { Random } from './random.js';
import { type Context, type Statement, selectRow } from './statements.js';
import type { Tally } from './tally.js';

export interface WorkerOptions {
  url: string;
  /** `application_name` of its connections. */
  name: string;
  model: Model;
  random: Random;
  pace: Pace;
  tally: Tally;
}

/** Pauses between attempts to connect again, milliseconds: doubled each time, up to the last. */
const RETRY_MS = { first: 50, last: 1_000 };

const PROTOCOLS: readonly (readonly [number, Protocol])[] = [
  [1, 'simple'],
  [1, 'unnamed'],
  [1, 'named'],
];

/** One connection of the application, and what it does: one operation after the other. */
export class Worker {
  private connection: Connection | undefined;
  private lost: Connection | undefined;
  private readonly stopping = new AbortController();
  private readonly context: Context;

  constructor(private readonly options: WorkerOptions) {
    const { model, random } = options;
    this.context = { model, random, now: Date.now };
  }

  /** @throws what the driver throws when the connection cannot be made. */
  async connect(): Promise<void> {
    const { url, name, model, tally } = this.options;
    const connection = new Connection(url, name, (message) =>
      tally.complain({
        worker: model.worker,
        shape: 'notice',
        protocol: '',
        complaint: `a notice came that no statement has asked for: ${message}`,
      }),
    );
    this.connection = connection;
    try {
      await connection.open(this.lost);
      this.lost = undefined;
    } catch (error) {
      connection.destroy();
      this.connection = undefined;
      throw error;
    }
  }

  /** Works until {@link stop}; errors are counted, none is thrown. */
  async run(): Promise<void> {
    const { model, random, pace } = this.options;
    while (!this.stopping.signal.aborted) {
      if (!this.connection) {
        await this.reconnect();
        continue;
      }
      const doubt = model.firstDoubt();
      const operation = doubt === undefined ? nextOperation(random) : undefined;
      const size = operation ? statementCount(operation) : 1;
      const { waitMs, sinceMs } = pace.next(performance.now(), size);
      if (waitMs > 0) await this.wait(waitMs);
      if (this.stopping.signal.aborted) break;
      const since = waitMs > 0 ? performance.now() : sinceMs;
      if (operation) await this.attempt(() => this.perform(operation, since));
      else await this.attempt(() => this.readAgain(doubt!, since));
    }
  }

  /** Lets the operation in hand finish; {@link run} returns after it. */
  stop(): void {
    this.stopping.abort();
  }

  /** Cuts the connection, so that a statement without an answer does not wait for ever. */
  cut(): void {
    this.connection?.destroy();
  }

  async end(): Promise<void> {
    await this.connection?.end();
    this.connection = undefined;
  }

  private async reconnect(): Promise<void> {
    let pauseMs = RETRY_MS.first;
    while (!this.stopping.signal.aborted) {
      try {
        await this.connect();
        this.options.tally.reconnects++;
        this.options.pace.reset();
        return;
      } catch (error) {
        this.options.tally.failed(describe(error), 'connect');
      }
      await this.wait(pauseMs);
      pauseMs = Math.min(pauseMs * 2, RETRY_MS.last);
    }
  }

  private async wait(ms: number): Promise<void> {
    const { signal } = this.stopping;
    await delay(ms, undefined, { signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }

  /** Runs an operation that has put the model in order before it throws. */
  private async attempt(run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      const sample = error instanceof Failure ? error.sample : '';
      const cause = error instanceof Failure ? error.cause : error;
      this.options.tally.failed(describe(cause), sample);
      if (!isLoss(cause)) return;
      this.connection?.destroy();
      this.lost = this.connection;
      this.connection = undefined;
    }
  }

  private perform(operation: Operation, since: number): Promise<void> {
    switch (operation.ending) {
      case 'single':
        return this.single(operation, since);
      case 'script':
        return this.script(operation, since);
      default:
        return this.transaction(operation, since);
    }
  }

  private async single({ shapes }: Operation, since: number): Promise<void> {
    const { model, random } = this.options;
    const statement = shapes[0]!(this.context);
    const protocol = random.weighted(PROTOCOLS);
    model.begin();
    try {
      const reply = await this.send(statement, protocol, since);
      this.apply(statement, protocol, reply);
      model.commit();
    } catch (error) {
      this.giveUp([statement], error);
      throw error;
    }
  }

  private async script({ shapes }: Operation, since: number): Promise<void> {
    const { model } = this.options;
    const connection = this.connection!;
    model.begin();
    const statements: Statement[] = [];
    for (const shape of shapes) {
      const statement = shape(this.context);
      for (const [id, version] of statement.writes) model.set(id, version);
      statements.push(statement);
    }
    const sample = statements.map(({ text }) => text).join('; ');
    try {
      const replies = await this.timed('script', 'simple', sample, since, () =>
        connection.script(statements),
      );
      for (const [i, statement] of statements.entries()) {
        const reply = replies[i] ?? { command: 'nothing', count: null, columns: [], rows: [] };
        this.apply(statement, 'script', reply);
      }
      model.commit();
    } catch (error) {
      this.giveUp(statements, error);
      throw error;
    }
  }

  /** The model after statements that were a transaction of their own and have failed. */
  private giveUp(statements: Statement[], error: unknown): void {
    const { model } = this.options;
    if (error instanceof Failure && !isLoss(error.cause)) {
      model.rollback();
      return;
    }
    for (const { writes, inserts } of statements) {
      for (const [id, version] of writes) model.set(id, version);
      model.lostInserts.push(...inserts);
    }
    model.doubt();
  }

  private async transaction({ shapes, ending }: Operation, since: number): Promise<void> {
    const { model, random } = this.options;
    model.begin();
    try {
      await this.command('BEGIN', since);
      for (const shape of shapes) {
        const statement = shape(this.context);
        const protocol = random.weighted(PROTOCOLS);
        const reply = await this.send(statement, protocol, performance.now());
        this.apply(statement, protocol, reply);
      }
    } catch (error) {
      // Without a COMMIT the server keeps none of it, lost connection or not.
      model.rollback();
      if (error instanceof Failure && !isLoss(error.cause)) await this.command('ROLLBACK');
      throw error;
    }
    if (ending === 'rollback') {
      model.rollback();
      return this.command('ROLLBACK');
    }
    try {
      await this.command('COMMIT');
      model.commit();
    } catch (error) {
      if (error instanceof Failure && isLoss(error.cause)) model.doubt();
      else model.rollback();
      throw error;
    }
  }

  /** Reads a row whose last write had an unknown outcome. */
  private async readAgain(id: number, since: number): Promise<void> {
    const { model } = this.options;
    const statement = selectRow(id, model.get(id));
    const reply = await this.send(statement, 'unnamed', since);
    const wrong = model.settle(id, reply.rows[0]);
    if (wrong) this.complain(statement.shape, 'unnamed', `row ${id}, after a doubt: ${wrong}`);
  }

  private send(statement: Statement, protocol: Protocol, since: number): Promise<Reply> {
    const connection = this.connection!;
    return this.timed(statement.shape, protocol, statement.text, since, () =>
      connection.send(statement, protocol),
    );
  }

  private async command(text: string, since = performance.now()): Promise<void> {
    const connection = this.connection!;
    const tag = await this.timed(text.toLowerCase(), 'simple', text, since, () =>
      connection.command(text),
    );
    if (tag !== text) this.complain(text.toLowerCase(), 'simple', `the command tag is ${tag}`);
  }

  private async timed<T>(
    shape: string,
    protocol: string,
    sample: string,
    since: number,
    run: () => Promise<T>,
  ): Promise<T> {
    try {
      const result = await run();
      this.options.tally.answered(shape, protocol, performance.now() - since);
      return result;
    } catch (error) {
      throw new Failure(sample, error);
    }
  }

  /** Checks the answer of a statement that has succeeded, and notes what it has written. */
  private apply(statement: Statement, protocol: string, reply: Reply): void {
    const { model } = this.options;
    const wrong = complaint(statement, reply);
    if (wrong) this.complain(statement.shape, protocol, wrong);
    for (const [id, version] of statement.writes) model.set(id, version);
    for (const [i, order] of statement.inserts.entries()) {
      const id = Number(reply.rows[i]?.id);
      if (Number.isSafeInteger(id)) model.set(id, order);
    }
  }

  private complain(shape: string, protocol: string, wrong: string): void {
    const { worker } = this.options.model;
    this.options.tally.complain({ worker, shape, protocol, complaint: wrong });
  }
}

/** A statement that has failed, and the cause. */
class Failure extends Error {
  constructor(
    readonly sample: string,
    override readonly cause: unknown,
  ) {
    super('a statement has failed');
  }
}
