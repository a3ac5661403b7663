import type { Socket } from 'node:net';
import { dial, type Upstream } from './dial.js';
import type { Limits } from './limits.js';

const CANCEL_REQUEST = 80877102;

/** A CancelRequest for a session, from its BackendKeyData (process id and key of any length). */
export function cancelRequest(keyData: Buffer): Buffer {
  const packet = Buffer.allocUnsafe(8 + keyData.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt32BE(CANCEL_REQUEST, 4);
  keyData.copy(packet, 8);
  return packet;
}

/** Relays CancelRequests, each on a connection of its own, never queued behind anything. */
export class Cancels {
  private running = 0;

  constructor(
    private readonly upstream: Upstream,
    private readonly limits: Limits,
  ) {}

  /**
   * Sends a packet as it came; the server closes when it has seen to it, and then so do we: that
   * is how a client knows. One too many is not sent.
   * @param client closed afterwards; null for a request of our own.
   * @returns whether it was sent.
   */
  relay(packet: Buffer, client: Socket | null): boolean {
    if (this.running >= this.limits.cancelsAtOnce) {
      client?.destroy();
      return false;
    }
    this.running++;
    void this.send(packet).finally(() => {
      this.running--;
      client?.destroy();
    });
    return true;
  }

  /** Resolves when the server has closed, or the time is up. Nobody is told what went wrong. */
  private async send(packet: Buffer): Promise<void> {
    const signal = AbortSignal.timeout(this.limits.cancelTimeoutMs);
    const server = await dial(this.upstream, this.limits, signal).catch(() => null);
    if (!server) return;
    await new Promise<void>((resolve) => {
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
