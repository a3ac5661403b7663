import { connect, type Socket } from 'node:net';
import { Cluster, type ClusterOptions } from '../../cli/demo/cluster.js';
import { Metrics } from '../../metrics/registry.js';
import type { Limits } from '../../proxy/limits.js';
import { Proxy as PgProxy, type ProxyOptions } from '../../proxy/proxy.js';
import { FakeRewriter } from './rewriter.js';
import { PROTOCOL_3_0, startupPacket } from './wire.js';

export interface Bench {
  cluster: Cluster;
  proxy: PgProxy;
  metrics: Metrics;
  host: string;
  port: number;
  errors: string[];
  /** A connection string through the proxy. */
  url(database?: string, user?: string): string;
  /** Value of a metric, by name and labels; 0 when never counted. */
  metric(name: string, labels?: Record<string, string>): Promise<number>;
}

interface Teardown {
  teardown(fn: () => unknown): void;
}

/** A server with a proxy before it, both ended with the test. */
export async function bench(
  t: Teardown,
  options: ClusterOptions & { limits?: Partial<Limits>; more?: Partial<ProxyOptions> } = {},
): Promise<Bench> {
  const cluster = await Cluster.create(options);
  t.teardown(() => cluster.destroy());
  return front(t, cluster, options.limits ?? {}, options.more);
}

/** A proxy before a server that runs already. */
export async function front(
  t: Teardown,
  cluster: Cluster,
  limits: Partial<Limits> = {},
  more: Partial<ProxyOptions> = {},
): Promise<Bench> {
  const metrics = new Metrics();
  const errors: string[] = [];
  const proxy = new PgProxy({
    upstream: { host: '127.0.0.1', port: cluster.port },
    listen: { host: '127.0.0.1', port: 0 },
    database: 'postgres',
    metrics,
    log: {
      info: () => undefined,
      warn: (_fields, message) => void errors.push(message),
      error: (_fields, message) => void errors.push(message),
    },
    makeRewriter: (rules) => new FakeRewriter(rules),
    limits,
    ...more,
  });
  const { host, port } = await proxy.listen();
  t.teardown(() => proxy.close(0));
  return {
    cluster,
    proxy,
    metrics,
    host,
    port,
    errors,
    url: (database = 'postgres', user = 'postgres') =>
      `postgres://${user}@${host}:${port}/${database}`,
    metric: async (name, labels = {}) => {
      const found = await metrics.registry.getSingleMetric(name)?.get();
      const values = found?.values ?? [];
      const match = values.filter(
        (value) =>
          (!('metricName' in value) ||
            String(value.metricName).endsWith('_count') ||
            value.metricName === name) &&
          Object.entries(labels).every(([key, label]) => value.labels[key] === label),
      );
      return match.reduce((sum, value) => sum + value.value, 0);
    },
  };
}

/** Waits until a condition holds. @throws Error after `ms`, with `what`. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  ms = 10_000,
): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`timed out: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export interface Message {
  type: string;
  body: Buffer;
}

/** A client that speaks bytes: what it sends is what the test says. */
export class RawClient {
  readonly messages: Message[] = [];
  private bytes = Buffer.alloc(0);
  private untyped = false;
  ended = false;
  closed = false;
  private readonly wakeUps = new Set<() => void>();

  private constructor(readonly socket: Socket) {
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      this.bytes = Buffer.concat([this.bytes, chunk]);
      this.cut();
      this.wake();
    });
    socket.on('end', () => {
      this.ended = true;
      this.wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.ended = true;
      this.wake();
    });
  }

  /** Connects and says nothing. */
  static async open(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const socket = connect({ port, host, allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', () => resolve());
      socket.once('error', reject);
    });
    return new RawClient(socket);
  }

  /** Speaks through a socket that is connected already (TLS). */
  static through(socket: Socket): RawClient {
    return new RawClient(socket);
  }

  /** Connects and logs in by trust. */
  static async login(
    port: number,
    parameters: Record<string, string> = {},
    version = PROTOCOL_3_0,
  ): Promise<RawClient> {
    const client = await RawClient.open(port);
    client.send(startupPacket({ user: 'postgres', database: 'postgres', ...parameters }, version));
    await client.ready();
    return client;
  }

  send(...parts: Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** The answer to a request for encryption. */
  async byte(): Promise<string> {
    this.untyped = true;
    await this.wait(() => this.bytes.length > 0);
    const byte = String.fromCharCode(this.bytes[0]!);
    this.bytes = this.bytes.subarray(1);
    this.untyped = false;
    return byte;
  }

  /** Messages up to and with the `count`th ReadyForQuery from now; they are taken away. */
  async ready(count = 1): Promise<Message[]> {
    const isReady = () => this.messages.filter((m) => m.type === 'Z').length >= count;
    await this.wait(() => isReady() || this.ended);
    let left = count;
    let i = 0;
    while (i < this.messages.length && left > 0) if (this.messages[i++]!.type === 'Z') left--;
    return this.messages.splice(0, i);
  }

  /** Waits until the messages so far are as wanted. */
  async wait(condition: () => boolean, ms = 15_000): Promise<void> {
    const deadline = Date.now() + ms;
    while (!condition()) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`timed out; has ${this.messages.map((m) => m.type).join('')}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(wake, left);
        const { wakeUps } = this;
        function wake() {
          clearTimeout(timer);
          wakeUps.delete(wake);
          resolve();
        }
        wakeUps.add(wake);
      });
    }
  }

  /** Waits until the other side has ended, and gives what it said. */
  async end(): Promise<Message[]> {
    await this.wait(() => this.ended);
    return this.messages.splice(0);
  }

  destroy(): void {
    this.socket.destroy();
  }

  private wake(): void {
    for (const wake of [...this.wakeUps]) wake();
  }

  private cut(): void {
    let pos = 0;
    while (!this.untyped && this.bytes.length - pos >= 5) {
      const length = this.bytes.readInt32BE(pos + 1);
      if (this.bytes.length - pos < length + 1) break;
      const body = Buffer.from(this.bytes.subarray(pos + 5, pos + 1 + length));
      this.messages.push({ type: String.fromCharCode(this.bytes[pos]!), body });
      pos += length + 1;
    }
    if (pos > 0) this.bytes = this.bytes.subarray(pos);
  }
}
