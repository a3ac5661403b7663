import type { Socket } from 'node:net';
import { dial, type Upstream } from './dial.js';
import type { Limits } from './limits.js';

const CANCEL_REQUEST = 80877102;
/** Where a process id and a secret key begin in a CancelRequest. */
const KEY_AT = 8;

/** A CancelRequest for a session, from its BackendKeyData (process id and key of any length). */
export function cancelRequest(keyData: Buffer): Buffer {
  const packet = Buffer.allocUnsafe(KEY_AT + keyData.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt32BE(CANCEL_REQUEST, 4);
  keyData.copy(packet, KEY_AT);
  return packet;
}

/** What became of a CancelRequest; `unknown`: nobody is known to have given its key. */
export type CancelOutcome = 'cancel' | 'refused' | 'cancel-unknown';

/** What is known of keys. */
export interface Keys {
  /** The server that gave this process id and key to a live session of this process. */
  find(key: Buffer): Upstream | null;
  /**
   * Asks the other processes of this proxy. A process whose session it is sends the cancel itself
   * (`Proxy.cancelHere`); true when one has. Absent: there are no others.
   */
  readonly askOthers?: ((key: Buffer) => Promise<boolean>) | undefined;
  /** The only server that a key can be of; null where there are several, or it is in doubt. */
  readonly only: Upstream | null;
  /** Where else it may be of, when no process of this proxy knows it; null: of any of several. */
  readonly likely: Upstream | null;
}

/** Relays CancelRequests, each on a connection of its own, never queued behind anything. */
export class Cancels {
  private running = 0;

  constructor(
    private readonly keys: Keys,
    private readonly limits: Limits,
  ) {}

  /**
   * Sends a packet as it came to the server that gave its key; the server closes when it has seen
   * to it, and then so do we: that is how a client knows. One too many is not sent, nor one that
   * may be of any of several servers.
   * @param client closed afterwards.
   * @returns as soon as it is known what becomes of it. Never rejects.
   */
  async relay(packet: Buffer, client: Socket): Promise<CancelOutcome> {
    if (this.running >= this.limits.cancelsAtOnce) {
      client.destroy();
      return 'refused';
    }
    this.running++;
    client.on('error', () => client.destroy());
    try {
      const key = packet.subarray(KEY_AT);
      const upstream = this.keys.find(key) ?? this.keys.only;
      if (upstream) return this.sendFor(client, packet, upstream);
      if (await this.askOthers(key)) {
        client.destroySoon();
        return 'cancel';
      }
      if (this.keys.likely) return this.sendFor(client, packet, this.keys.likely);
      client.destroySoon();
      return 'cancel-unknown';
    } finally {
      this.running--;
    }
  }

  /**
   * Sends the cancel of a session of this process, for another process that was asked for it.
   * @returns whether the key is of a session here; resolves when the server has seen to it.
   */
  async relayHere(key: Buffer): Promise<boolean> {
    const upstream = this.keys.find(key);
    if (!upstream) return false;
    if (this.running < this.limits.cancelsAtOnce) await this.send(cancelRequest(key), upstream);
    return true;
  }

  /** Cancels a session of our own. */
  order(keyData: Buffer, upstream: Upstream): void {
    if (this.running < this.limits.cancelsAtOnce) void this.send(cancelRequest(keyData), upstream);
  }

  private sendFor(client: Socket, packet: Buffer, upstream: Upstream): CancelOutcome {
    // Within TLS the end is said, or the client takes it for a connection that was cut.
    void this.send(packet, upstream).finally(() => client.destroySoon());
    return 'cancel';
  }

  /** Whether another process has had it. A process that does not answer has not. */
  private async askOthers(key: Buffer): Promise<boolean> {
    const { askOthers } = this.keys;
    if (!askOthers) return false;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, this.limits.cancelTimeoutMs, false);
    });
    const asked = askOthers(key).catch(() => false);
    const known = await Promise.race([asked, late]);
    clearTimeout(timer);
    return known;
  }

  /** Resolves when the server has closed, or the time is up. Nobody is told what went wrong. */
  private async send(packet: Buffer, upstream: Upstream): Promise<void> {
    this.running++;
    try {
      const signal = AbortSignal.timeout(this.limits.cancelTimeoutMs);
      const server = await dial(upstream, this.limits, signal).catch(() => null);
      if (server) await this.converse(server, packet);
    } finally {
      this.running--;
    }
  }

  private converse(server: Socket, packet: Buffer): Promise<void> {
    return new Promise<void>((resolve) => {
      const timer = setTimeout(() => server.destroy(), this.limits.cancelTimeoutMs);
      server.on('data', () => undefined);
      server.on('end', () => server.destroy());
      server.on('error', () => server.destroy());
      server.on('close', () => {
        clearTimeout(timer);
        resolve();
      });
      server.write(packet);
      server.resume();
    });
  }
}
