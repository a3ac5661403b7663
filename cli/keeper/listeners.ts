import { chmodSync, lstatSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { UserError } from '../../migration/errors.js';

/** Where clients connect: `--listen`. */
export type Place =
  | { kind: 'tcp'; host: string; port: number }
  /** The path of a socket, or of a folder in which one is made as PostgreSQL names it. */
  | { kind: 'unix'; path: string }
  /** A socket that whoever started this process has opened. */
  | { kind: 'fd'; fd: number };

export interface ListenSettings {
  places: readonly Place[];
  /** Permissions of Unix sockets. */
  socketMode: number;
  /** Silence after which the kernel asks whether a TCP client is there, milliseconds; 0: never. */
  keepAliveMs: number;
}

/** Where one listener can be reached. */
export type Bound = { host: string; port: number } | { path: string };

/** The port in the name of a Unix socket where there is no other. */
const USUAL_PORT = 6432;

/** The first file descriptor of a socket activation (sd_listen_fds(3)). */
const FIRST_FD = 3;

/**
 * The sockets that systemd has opened for this process (LISTEN_PID, LISTEN_FDS): they are used in
 * place of `--listen`. Pure.
 */
export function activated(environment: NodeJS.ProcessEnv, pid: number): Place[] {
  if (environment.LISTEN_PID !== String(pid)) return [];
  const count = Number(environment.LISTEN_FDS);
  if (!Number.isInteger(count) || count < 1) return [];
  return Array.from({ length: count }, (_, i) => ({ kind: 'fd', fd: FIRST_FD + i }));
}

/** All the sockets on which clients are accepted. */
export class Listeners {
  private readonly servers: Server[] = [];
  readonly bound: Bound[] = [];

  private constructor() {}

  /**
   * @param take is given each connection, paused, with whether it came by TCP.
   * @throws UserError that says which address cannot be listened on, and why.
   */
  static async open(
    settings: ListenSettings,
    take: (socket: Socket, tcp: boolean) => void,
    failed: (error: Error) => void,
  ): Promise<Listeners> {
    const listeners = new Listeners();
    try {
      for (const place of settings.places) await listeners.add(place, settings, take, failed);
    } catch (error) {
      listeners.close();
      throw error;
    }
    return listeners;
  }

  private async add(
    place: Place,
    { socketMode, keepAliveMs }: ListenSettings,
    take: (socket: Socket, tcp: boolean) => void,
    failed: (error: Error) => void,
  ): Promise<void> {
    const tcpOptions = {
      noDelay: true,
      keepAlive: keepAliveMs > 0,
      keepAliveInitialDelay: keepAliveMs,
    };
    const server = createServer({ pauseOnConnect: true, ...tcpOptions });
    const at = place.kind === 'unix' ? { ...place, path: this.socketPath(place.path) } : place;
    try {
      if (at.kind === 'unix') await removeStale(at.path);
      await listen(server, at, socketMode);
    } catch (error) {
      throw new UserError(
        `Can't listen on ${describePlace(at)}: ${(error as Error).message}`,
        'Give another address with --listen, or look at who has this one.',
      );
    }
    const address = server.address();
    const path = typeof address === 'string' ? address : null;
    server.on('connection', (socket) => take(socket, path === null));
    // A failed accept (out of file descriptors) costs that client only.
    server.on('error', failed);
    this.servers.push(server);
    if (path !== null) this.bound.push({ path });
    else if (typeof address === 'object' && address) {
      this.bound.push({ host: address.address, port: address.port });
    }
  }

  /** In a folder: the name under which a client of PostgreSQL looks for the first TCP port. */
  private socketPath(path: string): string {
    if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return path;
    const first = this.bound.find((bound) => 'port' in bound);
    return join(path, `.s.PGSQL.${first?.port ?? USUAL_PORT}`);
  }

  /** Nobody is accepted any more; Unix sockets are removed. */
  close(): void {
    for (const server of this.servers) server.close();
  }
}

export function describePlace(place: Place): string {
  if (place.kind === 'unix') return place.path;
  if (place.kind === 'fd') return `file descriptor ${place.fd}`;
  return place.host.includes(':') ? `[${place.host}]:${place.port}` : `${place.host}:${place.port}`;
}

function listen(server: Server, place: Place, socketMode: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const done = () => {
      server.removeListener('error', reject);
      if (place.kind === 'unix') chmodSync(place.path, socketMode);
      resolve();
    };
    if (place.kind === 'fd') server.listen({ fd: place.fd }, done);
    else if (place.kind === 'tcp') {
      const options: ListenOptions = { host: place.host, port: place.port };
      server.listen(options, done);
    } else {
      // Until its mode is set nobody else may use it.
      const before = process.umask(0o177);
      try {
        server.listen({ path: place.path }, done);
      } finally {
        process.umask(before);
      }
    }
  });
}

/**
 * Removes the file of a socket on which nobody listens any more.
 * @throws Error when somebody does, or when it is not a socket.
 */
async function removeStale(path: string): Promise<void> {
  const entry = lstatSync(path, { throwIfNoEntry: false });
  if (!entry) return;
  if (!entry.isSocket()) throw new Error('there is a file of this name that is not a socket');
  const code = await new Promise<string | undefined>((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  if (code !== 'ECONNREFUSED') throw new Error('another process listens there');
  rmSync(path);
}
