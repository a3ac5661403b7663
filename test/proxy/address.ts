import { connect, createServer, type Server, type Socket } from 'node:net';

/** An address that leads to a server, to another one later, or into silence. */
export class Address {
  private readonly sockets = new Set<Socket>();
  private silent = false;
  private greets = false;

  private constructor(
    private readonly server: Server,
    readonly port: number,
    private target: number,
  ) {}

  /** @param target a port of this machine. */
  static async open(target: number): Promise<Address> {
    const server = createServer({ allowHalfOpen: true }, (socket) => address.accept(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const address = new Address(server, port, target);
    return address;
  }

  private accept(socket: Socket): void {
    this.keep(socket);
    if (this.silent) return;
    const server = this.keep(
      connect({ port: this.target, host: '127.0.0.1', allowHalfOpen: true }),
    );
    socket.pipe(server);
    if (this.greets) passGreeting(server, socket);
    else server.pipe(socket);
    socket.once('close', () => server.destroy());
    server.once('close', () => socket.destroy());
  }

  private keep(socket: Socket): Socket {
    this.sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.sockets.delete(socket));
    return socket;
  }

  /** From now on it leads elsewhere, and the connections that there are end. */
  lead(target: number): void {
    this.target = target;
    this.silent = false;
    for (const socket of this.sockets) socket.destroy();
  }

  /** As a balancer, or a name: new connections lead elsewhere, and those that there are live on. */
  turn(target: number): void {
    this.target = target;
    this.silent = false;
    this.greets = false;
  }

  /** As a machine that hangs: connections stay, new ones are accepted, and nothing comes. */
  hang(): void {
    this.silent = true;
    for (const socket of this.sockets) socket.unpipe().pause();
  }

  /** As one that hangs as soon as it has let somebody in. */
  hangAfterLogin(): void {
    this.greets = true;
  }

  /** How many sockets are open, on both sides. */
  get open(): number {
    return this.sockets.size;
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }
}

/** Passes on what a server says up to its first ReadyForQuery, whose last six bytes these are. */
function passGreeting(server: Socket, client: Socket): void {
  server.on('data', function pass(bytes) {
    client.write(bytes);
    if (bytes.toString('latin1', bytes.length - 6) === 'Z\0\0\0\x05I') server.off('data', pass);
  });
}
