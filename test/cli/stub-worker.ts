import type { Socket } from 'node:net';
import type { ToKeeper, ToWorker } from '../../cli/keeper/messages.js';
import { Peers } from '../../cli/keeper/peers.js';

/**
 * A worker that does what a client tells it in its first bytes: `crash`, or ask the others. To
 * anybody it says its process id first. `address` of its settings is how it starts: `fail`, `die`,
 * or nothing of these.
 */
const tell = (message: ToKeeper) => void process.send!(message);
const peers = new Peers(tell);
peers.answer('who has', (key) => (String(process.pid) === key ? { pid: process.pid } : null));
peers.answer('broken', () => {
  throw new Error('it is');
});
peers.answer('health', () => ({ lease: 'held', connections: 0, held: 0, longestHoldMs: 0 }));
process.on('disconnect', () => process.exit(1));

process.on('message', (message: ToWorker, socket?: Socket) => {
  if (message.kind === 'start') {
    const { address } = message.settings;
    if (address === 'fail') tell({ kind: 'failed', message: 'no such server', code: 3 });
    if (address === 'fail' || address === 'die') process.exit(7);
    tell({ kind: 'ready' });
  } else if (message.kind === 'client') {
    tell({ kind: 'took', id: message.id });
    socket?.on('error', () => undefined);
    socket?.on('close', () => tell({ kind: 'left', count: 1 }));
    socket?.write(`${process.pid} ${JSON.stringify(message.seat)}\n`);
    socket?.on('data', (data) => void obey(String(data).trim(), socket));
  } else if (message.kind === 'drain') {
    process.send!({ kind: 'ended', numbers: [] }, undefined, {}, () => process.exit(0));
  } else if (message.kind !== 'reload') {
    peers.received(message);
  }
});

async function obey(what: string, socket: Socket): Promise<void> {
  if (what === 'crash') process.kill(process.pid, 'SIGKILL');
  const [topic, payload] = what.split(':');
  socket.write(`${JSON.stringify(await peers.ask(topic!, payload, 500))}\n`);
}
