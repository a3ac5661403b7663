import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A `pgtandem proxy` in a process of its own, on ports given by the kernel. */
export class ProxyProcess {
  private constructor(
    private readonly child: ChildProcess,
    /** host:port for applications, or the path of a Unix socket. */
    readonly address: string,
    /** http://host:port of metrics and health. */
    readonly metricsUrl: string,
    private readonly lines: string[],
  ) {}

  /**
   * Starts one and waits until it says that it is ready.
   * @param listen port 0 is the kernel's choice; give the old one to start it again in its place.
   * @param options more of `pgtandem proxy`.
   */
  static async start(
    upstream: string,
    listen = '127.0.0.1:0',
    options: readonly string[] = [],
  ): Promise<ProxyProcess> {
    const main = fileURLToPath(new URL('../main.js', import.meta.url));
    const child = spawn(
      process.execPath,
      [
        ...[main, 'proxy', '--upstream', upstream, '--listen', listen],
        ...['--metrics', '127.0.0.1:0', ...options],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', () => process.removeListener('exit', kill));
    const lines: string[] = [];
    const reader = createInterface({ input: child.stderr! });
    return new Promise((resolve, reject) => {
      reader.on('line', (line) => {
        lines.push(line);
        const ready = readyLine(line);
        if (ready) resolve(new ProxyProcess(child, ready.address, ready.metricsUrl, lines));
      });
      child.once('error', reject);
      // Not 'exit': what it said last may still have to be read.
      child.once('close', (code) =>
        reject(new Error(`the proxy ended (${code}): ${lines.join('\n')}`)),
      );
    });
  }

  /** Connection string of a database through the proxy. */
  url(database = 'postgres', user = 'postgres'): string {
    return `postgres://${user}@${this.address}/${database}`;
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** What it has logged so far. */
  get log(): readonly string[] {
    return this.lines;
  }

  /** What /healthz says. */
  async health(): Promise<{ longestHoldMs: number } & Record<string, unknown>> {
    const response = await fetch(`${this.metricsUrl}/healthz`);
    return (await response.json()) as { longestHoldMs: number };
  }

  /** Sum of a metric's series whose labels match. */
  async metric(name: string, labels: Record<string, string> = {}): Promise<number> {
    const text = await (await fetch(`${this.metricsUrl}/metrics`)).text();
    let sum = 0;
    for (const line of text.split('\n')) {
      const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (match?.[1] !== name) continue;
      const all = Object.entries(labels).every(([key, value]) =>
        match[2]?.includes(`${key}="${value}"`),
      );
      if (all) sum += Number(match[3]);
    }
    return sum;
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Resolves with its exit code when it has ended; null when a signal has ended it. */
  async ended(): Promise<number | null> {
    const { child } = this;
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    return child.exitCode;
  }

  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    this.signal(signal);
    await this.ended();
  }
}

function readyLine(line: string): { address: string; metricsUrl: string } | null {
  if (!line.startsWith('{') || !line.includes('"msg":"ready"')) return null;
  const { listen, metrics } = JSON.parse(line);
  const host = listen.host?.includes(':') ? `[${listen.host}]` : listen.host;
  return {
    address: listen.path ?? `${host}:${listen.port}`,
    metricsUrl: `http://${metrics.host}:${metrics.port}`,
  };
}
