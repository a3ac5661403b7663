import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Numbers } from '../../metrics/aggregate.js';
import type { Seat } from '../../proxy/seat.js';
import { Asking } from './asking.js';
import type { Ask, ToKeeper, ToWorker, WorkerSettings } from './messages.js';

export type WorkerState = 'starting' | 'ready' | 'draining' | 'gone';

/** How a worker ended. `asked`: it was told to. */
export interface Ending {
  asked: boolean;
  /** What it said, or how the operating system tells of it. */
  message: string;
  code: number;
}

/** Beyond the grace: after so long a worker that was told to end is killed, milliseconds. */
const PATIENCE_MS = 5_000;

/** A worker as its keeper sees it. */
export class WorkerProcess {
  state: WorkerState = 'starting';
  /** Clients that it was given and that are not gone. */
  clients = 0;
  /** What it told of its metrics last. */
  numbers: Numbers = [];
  /** Resolves when it is ready, or has ended before. */
  readonly started: Promise<void>;
  /** Resolves when the process is there no more. Never rejects. */
  readonly ended: Promise<Ending>;
  private readonly child: ChildProcess;
  private readonly asking = new Asking((ask) => this.tell(ask));
  /** Given, and not yet taken: should it end now, somebody else can have them. */
  private readonly offered = new Map<number, { socket: Socket; seat: Seat }>();
  private offers = 0;
  /** It was told to end before it was ready: nothing of it has to end in order. */
  private unused = false;
  private failure: { message: string; code: number } | undefined;

  /** @param relay answers what the worker asks the others. */
  constructor(
    settings: WorkerSettings,
    private readonly relay: (ask: Ask, from: WorkerProcess) => Promise<unknown>,
    program = fileURLToPath(new URL('../worker.js', import.meta.url)),
  ) {
    this.child = fork(program, [], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    // What could not be sent was sent to a process that ends; 'exit' says so.
    this.child.on('error', () => undefined);
    let ready!: () => void;
    this.started = new Promise((resolve) => {
      ready = resolve;
    });
    this.child.on('message', (message: ToKeeper) => {
      if (message.kind === 'ready' && this.state === 'starting') {
        this.state = 'ready';
        ready();
      } else this.received(message);
    });
    this.ended = new Promise((resolve) => {
      const end = (how: string, code: number | null) => {
        if (this.state === 'gone') return;
        const asked = this.state === 'draining';
        this.state = 'gone';
        this.clients = 0;
        this.asking.end();
        ready();
        const { message, code: told } = this.failure ?? { message: how, code: 1 };
        resolve({ asked: asked && (code === 0 || this.unused), message, code: told });
      };
      this.child.once('exit', (code, signal) => {
        const ended = () => end(`it ended with ${signal ?? code}`, code);
        // What it said last may still have to be read.
        if (this.child.connected) this.child.once('disconnect', ended);
        else ended();
      });
      this.child.once('error', (error) => {
        // Without a process id it was never there, and there is no 'exit'.
        if (this.child.pid === undefined) end(error.message, 1);
      });
    });
    this.tell({ kind: 'start', settings });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Hands a client over. */
  give(socket: Socket, seat: Seat): void {
    this.clients++;
    const id = ++this.offers;
    this.offered.set(id, { socket, seat });
    const message: ToWorker = { kind: 'client', id, seat };
    // One that is gone has it taken back; Node alone would hold on to it until it is collected.
    this.child.send(message, socket, { keepOpen: true }, () => undefined);
  }

  /** When it is gone: the clients that it never got. */
  takeBack(): { socket: Socket; seat: Seat }[] {
    const clients = [...this.offered.values()].filter(({ socket }) => !socket.destroyed);
    this.offered.clear();
    return clients;
  }

  /** @returns null when it does not know, or says nothing in time. */
  ask(topic: string, payload: unknown, timeoutMs: number): Promise<unknown> {
    return this.asking.ask(topic, payload, timeoutMs);
  }

  reload(): void {
    this.tell({ kind: 'reload' });
  }

  /** Ends it; whoever it has gets `graceMs` to finish. */
  drain(graceMs: number, gently: boolean): void {
    if (this.state === 'gone' || this.state === 'draining') return;
    const starting = this.state === 'starting';
    this.state = 'draining';
    if (starting) {
      this.unused = true;
      this.kill();
      return;
    }
    this.tell({ kind: 'drain', graceMs, gently });
    const timer = setTimeout(() => this.kill(), graceMs + PATIENCE_MS);
    void this.ended.then(() => clearTimeout(timer));
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  private tell(message: ToWorker): void {
    if (this.child.connected) this.child.send(message, () => undefined);
  }

  private received(message: ToKeeper): void {
    switch (message.kind) {
      case 'failed':
        this.failure = message;
        break;
      case 'took':
        this.offered.get(message.id)?.socket.destroy();
        this.offered.delete(message.id);
        break;
      case 'left':
        this.clients = Math.max(0, this.clients - message.count);
        break;
      case 'ended':
        this.numbers = message.numbers as Numbers;
        break;
      case 'answer':
        this.asking.answered(message);
        break;
      case 'ask':
        void this.relay(message, this).then((value) => {
          this.tell({ kind: 'answer', id: message.id, value });
        });
    }
  }
}
