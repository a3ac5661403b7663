import type { Duplex } from 'node:stream';
import pg from 'pg';
import { pgSsl, readSsl, SSL_PARAMETERS } from './ssl.js';
import { choose, describeKnown, type Known, parseTarget, suits, type Target } from './target.js';

/** A control connection. Everything that is not an application's own goes through one of these. */
export type Connection = pg.Client;

/** What of a control connection differs by its use. */
export interface ConnectOptions {
  /** A connection string, of one host or of several (see target.ts). */
  url: string;
  /** Shown in `pg_stat_activity`, after `pgtandem `. */
  role: string;
  /** How long a connection attempt may take, milliseconds; 10,000 by default. */
  timeoutMs?: number;
}

/** How long a connection attempt may take if nothing else is said, milliseconds. */
const CONNECT_MS = 10_000;
/** How long a server may take to let a connection go, milliseconds. */
const END_MS = 1_000;

/** A client whose end is not waited for at a server that hangs, which would never answer it. */
class Client extends pg.Client {
  override async end(): Promise<void> {
    const { stream } = (this as unknown as { connection: { stream: Duplex } }).connection;
    const timer = setTimeout(() => stream.destroy(), END_MS);
    try {
      await super.end();
    } finally {
      clearTimeout(timer);
    }
  }
}

/** How `pg` says that a server answered the request for TLS with N. */
const NO_TLS = 'The server does not support SSL connections';
/** How long a host of several may take to answer, milliseconds. */
const LOOK_MS = 2_500;
/** How long the others are waited for once one is right, milliseconds: is there a second? */
const OTHERS_MS = 500;

/** A pooler answers in the server's place: what a session holds is not kept for it. */
export class PoolerError extends Error {
  override readonly name = 'PoolerError';

  constructor() {
    super(
      'a connection pooler stands between pgtandem and PostgreSQL (the process that answers is not ' +
        'the one that logged us in), and locks, LISTEN and prepared statements do not survive it',
    );
  }
}

/**
 * The host that was right at last, by the connection string: all control connections of a process
 * go to the same server, and a second one that says it is the primary is not gone over to.
 */
const present = new Map<string, string>();

/** None of the hosts is what is asked for, or several are that cannot be at once. */
export class NoHostError extends Error {
  override readonly name = 'NoHostError';

  constructor(
    message: string,
    /** Several hosts say that they are the one to write to. */
    readonly split: boolean,
  ) {
    super(message);
  }
}

/**
 * Opens a control connection with settings on which our own SQL depends; of several hosts to the
 * one that `target_session_attrs` asks for.
 * @throws Error of `pg`, when the server cannot be reached or refuses the login.
 * @throws NoHostError when there are several hosts and none is right.
 * @throws TargetError when it is not a connection string.
 * @throws PoolerError when it is not a PostgreSQL server that answers.
 */
export async function connect(options: ConnectOptions): Promise<Connection> {
  return (await open(options)).connection;
}

/** As `connect`; `url` leads to the chosen host alone. */
export async function open(
  options: ConnectOptions,
): Promise<{ connection: Connection; url: string }> {
  const target = parseTarget(options.url);
  const only = target.urls[0]!;
  if (target.urls.length === 1 && target.attrs === 'any') {
    return { connection: await login(only, options), url: only };
  }
  const held = present.get(options.url);
  if (held !== undefined) {
    const look = await lookAt(held, options);
    if (suits(look.known, target.attrs)) return { connection: look.connection!, url: held };
    leave(look);
  }
  return await chooseAmong(target, options, held);
}

async function chooseAmong(target: Target, options: ConnectOptions, held: string | undefined) {
  const looks = await lookAtAll(target, options);
  const known = looks.map((look) => look.known);
  const index = held === undefined ? null : target.urls.indexOf(held);
  const { order, split } = choose(known, target.attrs, index);
  const chosen = order[0];
  for (const [i, look] of looks.entries()) if (i !== chosen) leave(look);
  if (chosen !== undefined) {
    const url = target.urls[chosen]!;
    present.set(options.url, url);
    return { connection: looks[chosen]!.connection!, url };
  }
  const told = describeKnown(target.urls, known);
  if (split.length > 1) {
    throw new NoHostError(`several hosts say that they are the primary: ${told}`, true);
  }
  // A wrong password is the same everywhere, and says more.
  const refused = looks.find((look) => /^(28|3D)/.test(sqlState(look.error) ?? ''));
  if (refused) throw refused.error;
  throw new NoHostError(`no host is ${target.attrs}: ${told}`, false);
}

/** What the hosts of a connection string say now, in their order. */
export async function survey(
  options: ConnectOptions,
): Promise<{ target: Target; known: readonly Known[] }> {
  const target = parseTarget(options.url);
  const looks = await Promise.all(target.urls.map((url) => lookAt(url, options)));
  for (const look of looks) leave(look);
  return { target, known: looks.map((look) => look.known) };
}

interface Look {
  known: Known;
  connection: Connection | null;
  error?: unknown;
}

/** Logs in and asks what the server is. Never rejects. */
async function lookAt(url: string, options: ConnectOptions): Promise<Look> {
  const timeoutMs = Math.min(options.timeoutMs ?? LOOK_MS, LOOK_MS);
  let connection: Connection | null = null;
  try {
    connection = await login(url, { ...options, timeoutMs });
    const { rows } = await connection.query({
      text: `SELECT pg_is_in_recovery() AS standby,
               current_setting('transaction_read_only') = 'on' AS "readOnly"`,
      query_timeout: timeoutMs,
    } as pg.QueryConfig);
    return { known: { up: true, ...rows[0] }, connection };
  } catch (error) {
    if (connection) leave({ known: { up: false, why: '' }, connection });
    const why = error instanceof Error ? error.message || error.name : String(error);
    return { known: { up: false, why }, connection: null, error };
  }
}

/** Looks at all hosts at once; a slow one is not waited for long when another is right. */
async function lookAtAll(target: Target, options: ConnectOptions): Promise<Look[]> {
  let found!: () => void;
  const right = new Promise<void>((resolve) => {
    found = resolve;
  });
  const looks: (Look | null)[] = target.urls.map(() => null);
  let over = false;
  const all = target.urls.map(async (url, i) => {
    const look = await lookAt(url, options);
    if (over) return leave(look);
    looks[i] = look;
    if (suits(look.known, target.attrs)) found();
  });
  let timer: NodeJS.Timeout | undefined;
  const late = right.then(
    () =>
      new Promise<void>((resolve) => {
        timer = setTimeout(resolve, OTHERS_MS);
      }),
  );
  await Promise.race([Promise.all(all), late]);
  clearTimeout(timer);
  over = true;
  return looks.map(
    (look) => look ?? { known: { up: false, why: 'no answer yet' }, connection: null },
  );
}

/** Not waited for: a server that hangs does not answer the end either. */
function leave({ connection }: Look): void {
  connection?.end().catch(() => undefined);
}

/** What is told once, when a connection is made. */
const SETTINGS = `SET standard_conforming_strings = on; SET client_min_messages = warning;
  SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
  SET plan_cache_mode = force_generic_plan`;
// The last of them: what is prepared is asked again and again, and its plan does not hang on its values.
// With a plan for each time, which the server may choose, half of what we cost it would be planning.

async function login(url: string, options: ConnectOptions): Promise<Connection> {
  const timeoutMs = options.timeoutMs ?? CONNECT_MS;
  const deadline = performance.now() + timeoutMs;
  const client = await attach(url, options, timeoutMs);
  // A server may hang as soon as it has let us in.
  const ask = (text: string) => {
    const query_timeout = Math.max(1, Math.ceil(deadline - performance.now()));
    return client.query({ text, query_timeout } as pg.QueryConfig);
  };
  try {
    const { rows } = await ask('SELECT pg_backend_pid() AS pid');
    // The key data of a login name the server's process; a pooler makes up its own.
    if (rows[0].pid !== (client as unknown as { processID: number }).processID) {
      throw new PoolerError();
    }
    await ask(SETTINGS);
    return client;
  } catch (error) {
    client.end().catch(() => undefined);
    throw error;
  }
}

/** TLS is libpq's: what `sslmode` and its kin mean there, they mean here. @throws SslError */
async function attach(
  url: string,
  options: ConnectOptions,
  timeoutMs: number,
): Promise<Connection> {
  const { text, host, parameters } = splitUrl(url);
  const settings = readSsl(parameters);
  // On a Unix socket there is no TLS, whatever is asked for.
  const ssl = host.startsWith('/') ? false : pgSsl(settings);
  const attempt = async (secured: typeof ssl) => {
    const client = new Client({
      connectionString: text,
      application_name: `pgtandem ${options.role}`,
      connectionTimeoutMillis: timeoutMs,
      keepAlive: true,
      ssl: secured,
      ...(secured && settings.direct ? { sslnegotiation: 'direct' } : {}),
    });
    // An idle client that loses its server emits 'error'; the next query on it fails, which is where
    // it is dealt with. Without a listener the process would end.
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  try {
    return await attempt(ssl);
  } catch (error) {
    const plain = settings.mode === 'prefer' && (error as Error).message === NO_TLS;
    if (!plain) throw error;
    return await attempt(false);
  }
}

/** A connection string without what it says of TLS, and that. */
function splitUrl(url: string): { text: string; host: string; parameters: URLSearchParams } {
  const parsed = new URL(url);
  const parameters = new URLSearchParams(parsed.search);
  const host = parameters.get('host') ?? decodeURIComponent(parsed.hostname);
  for (const name of SSL_PARAMETERS) parsed.searchParams.delete(name);
  return { text: parsed.href, host, parameters };
}

/** Runs `work` in a transaction; commits when it returns, rolls back when it throws. */
export async function transaction<T>(
  connection: Connection,
  work: () => Promise<T>,
  begin = 'BEGIN',
): Promise<T> {
  await connection.query(begin);
  try {
    const result = await work();
    await connection.query('COMMIT');
    return result;
  } catch (error) {
    // When the connection itself is gone the rollback fails too; the first error is the one to tell.
    await connection.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/**
 * Names the server that a connection leads to, and when it was started: the same address may lead to
 * another one later. Two servers that were copied from each other have the same identifier, not the
 * same start.
 */
export async function instanceOf(connection: Connection): Promise<string> {
  const { rows } = await connection.query(
    `SELECT system_identifier || ' ' || extract(epoch FROM pg_postmaster_start_time()) AS instance
     FROM pg_control_system()`,
  );
  return rows[0].instance;
}

/** Opens control connections to one server, by what they are for. */
export type Opener = (role: string, timeoutMs?: number) => Promise<Connection>;

/**
 * Opens connections that all lead to the same server: behind an address that a failover moves, one
 * of them could look at a server and another one write to the next.
 * @param instance as {@link instanceOf} names it; by default of what the first connection leads to.
 *   The opener throws an Error where a connection leads to another one, and what `connect` throws.
 */
export function openerOf(url: string, instance?: string): Opener {
  let expected = instance;
  return async (role, timeoutMs) => {
    const own = timeoutMs === undefined ? {} : { timeoutMs };
    const connection = await connect({ url, role, ...own });
    try {
      const found = await instanceOf(connection);
      expected ??= found;
      if (found !== expected) throw new StrayError();
      return connection;
    } catch (error) {
      connection.end().catch(() => undefined);
      throw error;
    }
  };
}

/** An address leads to another server than before. */
export class StrayError extends Error {
  override readonly name = 'StrayError';

  constructor() {
    super('the address of the database leads to another server now');
  }
}

/** SQLSTATE of an error of the server, or undefined when it came from elsewhere. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}
