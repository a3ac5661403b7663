import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP relay to a server that lets through so many bytes a second, or none: a slow link. */
export class Link {
  /** What comes from the server, in bytes a second; Infinity: at once. */
  bytesPerSecond = Number.POSITIVE_INFINITY;
  /**
   * Looks at what a client sends: `before` cuts the connection in its place, `after` as soon as it
   * was passed on, so that the server reads it, and whoever sent it never hears what became of it.
   */
  cut: (sent: Buffer) => 'before' | 'after' | null = () => null;
  private readonly sockets = new Set<Socket>();
  private readonly timers = new Set<NodeJS.Timeout>();

  private constructor(
    private readonly server: Server,
    /** The port of the server to which the next connection leads. */
    public to: number,
  ) {}

  static async open(port: number): Promise<Link> {
    const server = createServer();
    const link = new Link(server, port);
    server.on('connection', (client) => link.relay(client, connect(link.to, '127.0.0.1')));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return link;
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  async close(): Promise<void> {
    for (const timer of this.timers) clearTimeout(timer);
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private relay(client: Socket, upstream: Socket): void {
    for (const socket of [client, upstream]) {
      this.sockets.add(socket);
      // The other end is closed with it, whatever it was.
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.sockets.delete(socket);
        // What was said to the server last is for it to read: a reset would take it back.
        if (socket === upstream) client.destroy();
        else upstream.end();
      });
    }
    client.on('data', (chunk: Buffer) => {
      const cut = this.cut(chunk);
      if (cut !== 'before' && !upstream.write(chunk)) {
        client.pause();
        upstream.once('drain', () => client.resume());
      }
      if (cut !== null) client.destroy();
    });
    client.on('end', () => upstream.end());
    upstream.on('data', (chunk: Buffer) => this.forward(client, upstream, chunk));
  }

  /** A chunk takes its time, in which nothing more is read. */
  private forward(client: Socket, upstream: Socket, chunk: Buffer): void {
    client.write(chunk);
    const ms = (chunk.length / this.bytesPerSecond) * 1000;
    if (!(ms > 1)) return;
    upstream.pause();
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      upstream.resume();
    }, ms);
    this.timers.add(timer);
  }
}
