import type { Socket } from 'node:net';
import { RefusedError, UserError } from '../migration/errors.js';
import type { Seat } from '../proxy/seat.js';
import type { ToKeeper, ToWorker } from './keeper/messages.js';
import { Peers } from './keeper/peers.js';
import { EXIT } from './options.js';
import { type Serving, serve } from './serve.js';

/**
 * A worker: a whole proxy in a process of its own, which listens on nothing. The keeper
 * (keeper/keeper.ts) starts it, hands it the clients that it has accepted, and tells it to end.
 */

// A signal to the process group, such as Ctrl-C's, is the keeper's to act upon.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'] as const) {
  process.on(signal, () => undefined);
}
// Without a keeper nobody else may think that this process still holds its port.
process.on('disconnect', () => process.exit(EXIT.failed));

function tell(message: ToKeeper, then: () => void = () => undefined): void {
  // What cannot be sent has no receiver: 'disconnect' follows.
  if (process.connected) process.send!(message, undefined, {}, then);
}

const peers = new Peers(tell);
let serving: Serving | undefined;
let left = 0;

process.on('message', (message: ToWorker, socket?: Socket) => {
  switch (message.kind) {
    case 'start':
      void start(message);
      break;
    case 'client':
      tell({ kind: 'took', id: message.id });
      void take(message.seat, socket);
      break;
    case 'reload':
      serving?.reload();
      break;
    case 'drain':
      void end(message);
      break;
    default:
      peers.received(message);
  }
});

async function start({ settings }: Extract<ToWorker, { kind: 'start' }>): Promise<void> {
  try {
    serving = await serve(settings, peers);
  } catch (error) {
    const expected = error instanceof UserError || error instanceof RefusedError;
    const message = error instanceof UserError ? error.toString() : (error as Error).message;
    const code = expected ? EXIT.refused : EXIT.failed;
    tell({ kind: 'failed', message, code }, () => process.exit(code));
    return;
  }
  const { health, numbers } = serving;
  peers.answer('health', health);
  peers.answer('numbers', numbers);
  tell({ kind: 'ready' });
}

async function take(seat: Seat, socket: Socket | undefined): Promise<void> {
  if (socket && serving) await serving.proxy.accept(socket, seat);
  else socket?.destroy();
  // Those that go in the same moment are told of together.
  if (left++ === 0) {
    setImmediate(() => {
      tell({ kind: 'left', count: left });
      left = 0;
    });
  }
}

async function end({ graceMs, gently }: Extract<ToWorker, { kind: 'drain' }>): Promise<void> {
  await serving?.drain(graceMs, gently);
  const numbers = await serving?.numbers();
  tell({ kind: 'ended', numbers }, () => process.exit(EXIT.ok));
}
