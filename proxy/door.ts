import type { Socket } from 'node:net';
import type { Metrics } from '../metrics/registry.js';
import { type Arrival, arrive } from './arrival.js';
import type { Cancels } from './cancel.js';
import { describeUpstream, dial } from './dial.js';
import type { Limits } from './limits.js';
import { writeError } from './messages.js';
import type { Seat } from './seat.js';
import { Session, type SessionContext } from './session.js';

/** What a door has of its proxy. */
export interface House {
  readonly limits: Limits;
  readonly metrics: Metrics;
  readonly cancels: Cancels;
  /** Where a session with these start-up parameters belongs. */
  contextOf(parameters: ReadonlyMap<string, string>): SessionContext;
  admitted(session: Session): void;
  /** Sessions there are. */
  readonly size: number;
  failed(kind: string, detail: string, from: string): void;
  /** Somebody else's fault. */
  noticed(detail: string, from: string): void;
}

/** Connections that are not yet sessions (or are cancels), beyond the limit on sessions. */
const CONNECTIONS_BEYOND = 200;

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

  /** Takes over an accepted connection. Never throws. @returns null when it is not a session. */
  async enter(socket: Socket, seat: Seat): Promise<Session | null> {
    const { limits, size } = this.house;
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
    const arrival = await arrive(socket, limits, seat);
    strangers.delete(socket);
    return arrival ? this.admit(arrival, seat, loginTimer) : null;
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
    const { limits, metrics, cancels } = this.house;
    const { client } = arrival;
    if (arrival.step === 'malformed') {
      this.house.noticed(arrival.message, arrival.from);
      metrics.count('pgtandem_client_connections_total', { outcome: 'malformed' });
      client.destroy();
    } else if (arrival.step === 'bad') {
      this.refuse(client, '08P01', arrival.message);
    } else if (arrival.step === 'cancel') {
      clearTimeout(loginTimer);
      const sent = cancels.relay(Buffer.from(arrival.packet), client);
      const outcome = sent ? 'cancel' : 'refused';
      metrics.count('pgtandem_client_connections_total', { outcome });
    } else if (this.shut) {
      this.refuse(client, '57P03', 'the database system is shutting down');
    } else if (seat.full || this.house.size + this.dialling.size >= limits.connections) {
      this.refuse(client, '53300', 'sorry, too many clients already');
    } else {
      return this.connect(arrival, loginTimer);
    }
    return null;
  }

  private async connect(
    arrival: Extract<Arrival, { step: 'start' }>,
    loginTimer: NodeJS.Timeout,
  ): Promise<Session | null> {
    const { client, from, packet, rest, raw, parameters } = arrival;
    const context = this.house.contextOf(parameters);
    const call = new AbortController();
    this.dialling.add(call);
    // Until the session listens: a client that goes now is found closed below.
    const ignore = () => undefined;
    client.on('error', ignore);
    try {
      const server = await dial(context.upstream, this.house.limits, call.signal);
      if (client.destroyed) {
        server.destroy();
        return null;
      }
      const start = { packet: Buffer.from(packet), rest, loginTimer, from };
      const session = new Session(client, server, start, raw, context);
      this.house.admitted(session);
      this.house.metrics.count('pgtandem_client_connections_total', { outcome: 'relayed' });
      return session;
    } catch (error) {
      if (call.signal.aborted) {
        this.refuse(client, '57P01', 'terminating connection due to administrator command');
        return null;
      }
      const where = describeUpstream(context.upstream);
      const what = `could not connect to the PostgreSQL server at ${where}`;
      this.house.failed('upstream', `${what}: ${(error as Error).message}`, from);
      // A server that is starting, stopping or in recovery answers, and its own words are relayed.
      this.refuse(client, '08006', what);
      return null;
    } finally {
      this.dialling.delete(call);
      client.removeListener('error', ignore);
    }
  }

  private refuse(socket: Socket, code: string, message: string): void {
    this.house.metrics.count('pgtandem_client_connections_total', { outcome: 'refused' });
    socket.on('error', () => socket.destroy());
    socket.on('data', () => undefined);
    socket.on('end', () => socket.destroy());
    socket.resume();
    socket.end(writeError({ severity: 'FATAL', code, message }));
    const timer = setTimeout(() => socket.destroy(), this.house.limits.cancelTimeoutMs);
    socket.once('close', () => clearTimeout(timer));
  }
}
