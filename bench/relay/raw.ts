import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Contender } from './contenders.js';

export const message = (type: string, body: Buffer | string) => {
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeInt32BE(Buffer.byteLength(body) + 4, 1);
  return Buffer.concat([header, Buffer.from(body)]);
};

export const query = (text: string) => message('Q', `${text}\0`);

/** A connection that costs this process next to nothing: it counts bytes, and sees their end. */
export class Line {
  /** Bytes received so far. */
  received = 0;
  private tail: Buffer = Buffer.alloc(0);
  private changed: () => void = () => undefined;

  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.length;
      this.tail = Buffer.concat([this.tail, chunk.subarray(-6)]).subarray(-6);
      this.changed();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => this.changed());
  }

  /** Logs in; `trust` only. */
  static async open({ host, port, database }: Contender): Promise<Line> {
    const socket = connect({ host, port, noDelay: true });
    await once(socket, 'connect');
    const parameters = Buffer.from(`user\0postgres\0database\0${database}\0\0`);
    const header = Buffer.alloc(8);
    header.writeInt32BE(parameters.length + 8, 0);
    header.writeInt32BE(0x30000, 4);
    const line = new Line(socket);
    await line.ask(Buffer.concat([header, parameters]));
    return line;
  }

  /** Sends, and waits until a ReadyForQuery is the last thing that came. */
  async ask(bytes: Buffer): Promise<void> {
    this.tail = Buffer.alloc(0);
    this.socket.write(bytes);
    await this.until(() => this.isReady);
  }

  /** A ReadyForQuery is the last thing that came. */
  get isReady(): boolean {
    return this.tail.length === 6 && this.tail[0] === 0x5a && this.tail[4] === 5;
  }

  /** Sends, and waits until something has come. */
  async begin(bytes: Buffer): Promise<void> {
    const before = this.received;
    this.socket.write(bytes);
    await this.until(() => this.received > before);
  }

  /** Sends as fast as the other end takes it. */
  async send(bytes: Buffer): Promise<void> {
    if (!this.socket.write(bytes)) await once(this.socket, 'drain');
  }

  /** Takes about this many bytes, or what there is to the end, and then none. */
  async take(bytes: number): Promise<void> {
    const wanted = this.received + bytes;
    this.socket.resume();
    await this.until(() => this.received >= wanted || this.isReady);
    this.socket.pause();
  }

  close(): void {
    this.socket.destroy();
  }

  private async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.socket.destroyed) throw new Error('the connection was closed');
      await new Promise<void>((resolve) => {
        this.changed = resolve;
      });
    }
  }
}

/** COPY TO STDOUT of `megabytes`; MB/s. */
export async function copyOut(contender: Contender, megabytes: number): Promise<number> {
  const line = await Line.open(contender);
  const [before, started] = [line.received, performance.now()];
  const rows = megabytes * 1000;
  await line.ask(
    query(`COPY (SELECT repeat('x', 994) FROM generate_series(1, ${rows})) TO STDOUT`),
  );
  const bytes = line.received - before;
  line.close();
  return bytes / 1e3 / (performance.now() - started);
}

/** COPY FROM STDIN of `megabytes` into a table that is thrown away; MB/s. */
export async function copyIn(contender: Contender, megabytes: number): Promise<number> {
  const line = await Line.open(contender);
  await line.ask(query('CREATE TEMP TABLE target (a text) ON COMMIT DELETE ROWS'));
  await line.begin(query('COPY target FROM STDIN'));
  const row = `${'x'.repeat(999)}\n`;
  const piece = Buffer.concat(Array.from({ length: 8 }, () => message('d', row.repeat(8))));
  const started = performance.now();
  const pieces = Math.round((megabytes * 1e6) / 64_000);
  for (let i = 0; i < pieces; i++) await line.send(piece);
  await line.ask(message('c', ''));
  const seconds = (performance.now() - started) / 1000;
  line.close();
  return (pieces * 64_000) / 1e6 / seconds;
}
