import type { Socket } from 'node:net';
import type { Metrics } from '../metrics/registry.js';
import { type Arrival, arrive } from './arrival.js';
import type { Cancels } from './cancel.js';
import type { Limits } from './limits.js';
import { legsOf, logIn, type ScramOptions, wayOf } from './login.js';
import { Unreadable } from './mailbox.js';
import { writeError } from './messages.js';
import type { Realm } from './realm.js';
import { ScramError } from './scram.js';
import type { Seat } from './seat.js';
import { Session } from './session.js';
import type { SessionContext } from './session-context.js';
import { withDatabase } from './startup.js';
import type { TlsFront } from './tls.js';

/** What a door has of its proxy. */
export interface House {
  readonly limits: Limits;
  readonly metrics: Metrics;
  readonly cancels: Cancels;
  /** null: clients are not served TLS. */
  readonly tls: TlsFront | null;
  readonly scram: ScramOptions['mode'];
  /** Where a session that asks for this database (in latin1) belongs. */
  realmOf(database: string | undefined): Realm;
  admitted(session: Session, context: SessionContext<Session>, realm: Realm): void;
  /** Sessions there are. */
  readonly size: number;
  /** Whether there may be one more, of all processes of this proxy together. Never rejects. */
  hasRoom(): Promise<boolean>;
  failed(kind: string, detail: string, from: string): void;
  /** A client has failed, not the proxy. */
  warned(kind: string, detail: string, from: string): void;
}

/** Connections that are not yet sessions (or are cancels), beyond the limit on sessions. */
const CONNECTIONS_BEYOND = 200;

const NOTHING = Buffer.alloc(0);

class LookupError extends Error {}

/** Leads a client from its first byte to a session, or out again. */
export class Door {
  /** All client sockets that are open. */
  private readonly sockets = new Set<Socket>();
  /** Clients that have not sent their start-up packet yet. */
  private readonly strangers = new Set<Socket>();
  /** Clients for which the server is being called. */
  private readonly dialling = new Set<AbortController>();
  private shut = false;

  constructor(private readonly house: House) {}

  /** How many are on their way in. */
  get expected(): number {
    return this.strangers.size + this.dialling.size;
  }

  /**
   * Takes over an accepted connection. Never throws. On a Unix socket there is no TLS, as on the
   * server's own.
   * @returns null when it is not a session.
   */
  async enter(socket: Socket, seat: Seat): Promise<Session | null> {
    const { limits, size } = this.house;
    // On a Unix socket there is no TLS, as on the server's own.
    const tls = socket.remoteAddress === undefined ? null : this.house.tls;
    const { sockets, strangers } = this;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    const loginTimer = setTimeout(() => socket.destroy(), limits.loginTimeoutMs);
    socket.once('close', () => clearTimeout(loginTimer));
    if (this.expected + size >= limits.connections + CONNECTIONS_BEYOND) {
      this.refuse(socket, '53300', 'sorry, too many clients already');
      return null;
    }
    strangers.add(socket);
    const arrival = await arrive(socket, limits, tls, seat.announced);
    strangers.delete(socket);
    if (!arrival) return null;
    const { client, encrypted } = arrival;
    if (client !== socket) {
      sockets.delete(socket);
      sockets.add(client);
      client.once('close', () => sockets.delete(client));
    }
    if (arrival.step === 'start' && tls?.required && !encrypted) {
      this.refusePlain(arrival);
      return null;
    }
    return this.admit(arrival, seat, loginTimer);
  }

  /** Nobody else comes in; who is on the way in is shown out. */
  close(): void {
    this.shut = true;
    for (const socket of this.strangers) socket.destroy();
    for (const call of this.dialling) call.abort();
  }

  /** Ends the sockets that are left, after what is still to be sent on them. */
  clear(): void {
    for (const socket of this.sockets) socket.destroySoon();
  }

  private async admit(
    arrival: Arrival,
    seat: Seat,
    loginTimer: NodeJS.Timeout,
  ): Promise<Session | null> {
    const { metrics, cancels } = this.house;
    const { client } = arrival;
    if (arrival.step === 'malformed') {
      this.house.warned('proxy-protocol', arrival.message, arrival.from);
      metrics.count('pgtandem_client_connections_total', { outcome: 'malformed' });
      client.destroy();
    } else if (arrival.step === 'bad') {
      this.refuse(client, '08P01', arrival.message);
    } else if (arrival.step === 'untrusted') {
      this.house.warned(
        'tls',
        `a client's certificate was refused: ${arrival.reason}`,
        arrival.from,
      );
      this.refuse(client, '28000', 'connection requires a valid client certificate');
    } else if (arrival.step === 'cancel') {
      clearTimeout(loginTimer);
      const outcome = await cancels.relay(Buffer.from(arrival.packet), client);
      metrics.count('pgtandem_client_connections_total', { outcome });
    } else if (this.shut) {
      this.refuse(client, '57P03', 'the database system is shutting down');
    } else if (await this.isFull(seat, client)) {
      this.refuse(client, '53300', 'sorry, too many clients already');
    } else {
      return this.connect(arrival, loginTimer);
    }
    return null;
  }

  /** Sessions, and clients for which the server is being called. */
  get taken(): number {
    return this.house.size + this.dialling.size;
  }

  private async isFull(seat: Seat, client: Socket): Promise<boolean> {
    if (this.taken >= this.house.limits.connections) return true;
    if (!seat.full) return false;
    // One that goes meanwhile is found closed.
    client.on('error', () => undefined);
    return !(await this.house.hasRoom());
  }

  private async connect(
    arrival: Extract<Arrival, { step: 'start' }>,
    loginTimer: NodeJS.Timeout,
  ): Promise<Session | null> {
    const { client, from, packet, rest, raw, parameters } = arrival;
    // As the server sees it: without a database it is the one of the user's name.
    const database = parameters.get('database') || parameters.get('user');
    const realm = this.house.realmOf(database);
    const call = new AbortController();
    this.dialling.add(call);
    // Until the session listens: a client that goes now is found closed below.
    const ignore = () => undefined;
    client.on('error', ignore);
    try {
      const { server, context } = await realm.reach(database, call.signal);
      if (client.destroyed) {
        server.destroy();
        return null;
      }
      const own = realm.name === null ? Buffer.from(packet) : withDatabase(packet, realm.database);
      const user = utf8(parameters.get('user') ?? '');
      const start = { packet: own, rest, loginTimer, from, user };
      const scram = { mode: this.house.scram, verifierOf: realm.verifierOf };
      const way = wayOf(scram, legsOf(client, server));
      if (way !== 'relay') {
        server.write(start.packet);
        start.packet = NOTHING;
        start.rest = await this.logIn(way, arrival, server, realm, call.signal);
      }
      const session = new Session(client, server, start, raw, context);
      this.house.admitted(session, context, realm);
      this.house.metrics.count('pgtandem_client_connections_total', { outcome: 'relayed' });
      return session;
    } catch (error) {
      this.notConnected(arrival, error as Error, call.signal);
      return null;
    } finally {
      this.dialling.delete(call);
      client.removeListener('error', ignore);
    }
  }

  /** Ends SCRAM, or changes it, before there is a session. @returns what the client has sent since. */
  private async logIn(
    way: 'strip' | 'terminate',
    { client, rest, parameters }: Extract<Arrival, { step: 'start' }>,
    server: Socket,
    { verifierOf }: Realm,
    signal: AbortSignal,
  ): Promise<Buffer> {
    const end = () => server.destroy();
    client.once('close', end);
    signal.addEventListener('abort', end);
    const user = utf8(parameters.get('user') ?? '');
    try {
      return await logIn(way, { client, server }, rest, async () => {
        if (!verifierOf) return null;
        return verifierOf(user).catch((error: Error) => {
          throw new LookupError(`the verifier of a role could not be looked up: ${error.message}`);
        });
      });
    } catch (error) {
      server.on('error', () => undefined);
      server.destroy();
      throw error;
    } finally {
      client.removeListener('close', end);
      signal.removeEventListener('abort', end);
    }
  }

  private notConnected({ client, from }: Arrival, error: Error, signal: AbortSignal): void {
    if (signal.aborted) {
      this.refuse(client, '57P01', 'terminating connection due to administrator command');
    } else if (error instanceof ScramError) {
      this.house.warned('scram', [error.message, error.hint].filter(Boolean).join('. '), from);
      this.refuse(client, error.code, error.message, error.hint);
    } else if (error instanceof Unreadable) {
      this.house.metrics.count('pgtandem_client_connections_total', { outcome: 'refused' });
      client.destroySoon();
    } else if (error instanceof LookupError) {
      this.house.failed('scram', error.message, from);
      this.refuse(client, '08006', 'could not look up the role for its authentication');
    } else {
      this.house.failed('upstream', error.message, from);
      // A server that is starting, stopping or in recovery answers, and its own words are relayed.
      this.refuse(client, '08006', error.message);
    }
  }

  /** In the words of a server whose pg_hba.conf has hostssl lines only. */
  private refusePlain({ client, parameters, raw }: Extract<Arrival, { step: 'start' }>): void {
    const user = utf8(parameters.get('user') ?? '');
    const database = utf8(parameters.get('database') ?? '') || user;
    const from = `host "${client.remoteAddress}", user "${user}"`;
    const what = raw ? `replication connection from ${from}` : `${from}, database "${database}"`;
    const message = `no pg_hba.conf entry for ${what}, no encryption`;
    this.refuse(client, '28000', message, 'This proxy takes TLS only: set sslmode=require.');
  }

  private refuse(socket: Socket, code: string, message: string, hint?: string): void {
    this.house.metrics.count('pgtandem_client_connections_total', { outcome: 'refused' });
    socket.on('error', () => socket.destroy());
    socket.on('data', () => undefined);
    socket.on('end', () => socket.destroy());
    socket.resume();
    socket.end(writeError({ severity: 'FATAL', code, message, hint }));
    const timer = setTimeout(() => socket.destroy(), this.house.limits.cancelTimeoutMs);
    socket.once('close', () => clearTimeout(timer));
  }
}

/** The bytes of a start-up packet's word as text. */
function utf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString();
}
