import { Socket } from 'node:net';
import pg from 'pg';
import type { Reply } from './check.js';
import { inline } from './operations.js';
import type { Statement } from './statements.js';

/** The ways in which a driver sends a statement: simple, extended unnamed, extended named. */
export type Protocol = 'simple' | 'unnamed' | 'named';

/** A server process, told from a later one with the same number by when it began. */
interface Backend {
  pid: number;
  started: string;
}

/** How long a connection may take to be made, milliseconds. */
const CONNECT_MS = 5_000;

/** One connection of the application. */
export class Connection {
  private readonly socket = new Socket();
  private readonly client: pg.Client;
  private backend: Backend | undefined;
  /** Why the connection was lost between two statements. */
  private broken: Error | undefined;

  /** @param onNotice is told of every notice that the application did not ask for. */
  constructor(url: string, name: string, onNotice: (message: string) => void) {
    this.client = new pg.Client({
      connectionString: url,
      application_name: name,
      connectionTimeoutMillis: CONNECT_MS,
      stream: () => this.socket,
    });
    this.client.on('notice', (notice) => {
      // A server that goes down says so to everybody; the loss is counted on its own.
      if (!notice.code?.startsWith('57P')) onNotice(`${notice.severity}: ${notice.message}`);
    });
    this.client.on('error', (error) => {
      this.broken ??= error;
    });
  }

  /**
   * Connects, and makes sure that nothing of the connection before this one still runs in the
   * server: what it has not done by now it will never do, so a row can be read to know its outcome.
   */
  async open(before?: Connection): Promise<void> {
    await this.told(this.client.connect());
    const { rows } = await this.told(
      this.client.query<Backend>(
        'SELECT pid, backend_start::text AS started FROM pg_stat_activity ' +
          'WHERE pid = pg_backend_pid()',
      ),
    );
    this.backend = rows[0];
    if (!before?.backend) return;
    await this.told(
      this.client.query(
        'SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity ' +
          'WHERE pid = $1 AND backend_start::text = $2',
        [before.backend.pid, before.backend.started],
      ),
    );
  }

  async send(statement: Statement, protocol: Protocol): Promise<Reply> {
    const { text, values, shape } = statement;
    if (protocol === 'simple') return reply(await this.told(this.client.query(inline(statement))));
    const name = protocol === 'named' ? { name: shape } : {};
    return reply(await this.told(this.client.query({ ...name, text, values })));
  }

  /** Several statements in one simple Query message. */
  async script(statements: Statement[]): Promise<Reply[]> {
    const text = statements.map(inline).join(';\n');
    const results: unknown = await this.told(this.client.query(text));
    return (Array.isArray(results) ? results : [results]).map(reply);
  }

  /** BEGIN, COMMIT or ROLLBACK. @returns the command tag. */
  async command(text: string): Promise<string> {
    return (await this.told(this.client.query(text))).command;
  }

  /** Where the driver only says that the connection is gone: why it went. */
  private async told<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw error instanceof pg.DatabaseError ? error : (this.broken ?? error);
    }
  }

  async end(): Promise<void> {
    await this.client.end();
  }

  /** Cuts the connection: whatever waits for an answer fails. */
  destroy(): void {
    this.socket.destroy(new Error('the load cut its connection'));
  }
}

function reply(result: pg.QueryResult): Reply {
  return {
    command: result.command,
    count: result.rowCount,
    columns: result.fields.map((field) => ({ name: field.name, type: field.dataTypeID })),
    rows: result.rows,
  };
}

/** Whether an error has ended the connection, rather than one statement. */
export function isLoss(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) return true;
  return error.severity === 'FATAL' || error.severity === 'PANIC';
}

/** An error in one line, with its SQLSTATE or the operating system's name where it has one. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' ? `${error.code}: ` : '';
  return `${code}${error.message || error.name}`;
}
