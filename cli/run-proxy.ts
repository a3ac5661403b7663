import { pino } from 'pino';
import { expose, withoutRelay } from '../metrics/aggregate.js';
import { type Endpoint, startEndpoint } from '../metrics/endpoint.js';
import { Metrics } from '../metrics/registry.js';
import type { Limits } from '../proxy/limits.js';
import { Keeper, StartError } from './keeper/keeper.js';
import { activated, describePlace, Listeners, type Place } from './keeper/listeners.js';
import { EXIT } from './options.js';
import type { TargetSettings } from './target.js';
import type { TlsOptions } from './tls.js';

type OwnLimits =
  | 'connections'
  | 'loginTimeoutMs'
  | 'connectTimeoutMs'
  | 'idleTimeoutMs'
  | 'keepAliveMs';

export interface ProxySettings {
  /** The databases behind it, the one without a name first. */
  targets: readonly TargetSettings[];
  tls: TlsOptions;
  places: readonly Place[];
  socketMode: number;
  /** A PROXY header comes first on every TCP connection. */
  proxyProtocol: boolean;
  metrics: { host: string; port: number };
  workers: number;
  graceMs: number;
  /** Whether workers compile the rewriter before they are ready. */
  warmUp: boolean;
  logLevel: string;
  limits: Pick<Limits, OwnLimits>;
}

/**
 * The process that keeps the workers of a proxy: it listens, serves the metrics of all of them, and
 * acts on signals. Resolves when it has been told to end, and has.
 * @returns the exit code.
 * @throws UserError when it cannot listen.
 */
export async function runProxy(settings: ProxySettings): Promise<number> {
  const { limits, graceMs, proxyProtocol } = settings;
  const base = { keeper: process.pid };
  const log = pino({ level: settings.logLevel, base }, pino.destination({ dest: 2 }));
  const metrics = new Metrics(true);
  const inherited = activated(process.env, process.pid);
  const places = inherited.length > 0 ? inherited : settings.places;
  const keeper = new Keeper({
    workers: settings.workers,
    settings: {
      targets: settings.targets,
      tls: settings.tls,
      address: places.map(describePlace).join(', '),
      logLevel: settings.logLevel,
      warmUp: settings.warmUp,
      limits,
    },
    maxConnections: limits.connections,
    patienceMs: limits.connectTimeoutMs,
    metrics,
    log,
  });
  const told = obey(keeper, graceMs);
  try {
    await keeper.start();
  } catch (error) {
    if (told.stop.aborted) return told.code();
    keeper.kill();
    if (!(error instanceof StartError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return error.code;
  }
  let listeners: Listeners | undefined;
  let endpoint: Endpoint | undefined;
  try {
    endpoint = await openEndpoint(settings, keeper, metrics, told.stop);
    listeners = await Listeners.open(
      { places, socketMode: settings.socketMode, keepAliveMs: limits.keepAliveMs },
      (socket, tcp) => keeper.take(socket, tcp && proxyProtocol),
      (error) => log.error({ error: error.message }, 'could not accept a connection'),
    );
  } catch (error) {
    keeper.kill();
    await endpoint?.close();
    throw error;
  }
  const { host, port } = endpoint;
  const [listen, ...more] = listeners.bound;
  log.info({ listen, ...(more.length > 0 ? { more } : {}), metrics: { host, port } }, 'ready');
  // Before any worker is told: who sees the first session end finds that nobody is accepted.
  await aborted(told.stop, () => listeners.close());
  const code = await told.code();
  await endpoint.close();
  return code;
}

/** Acts on signals from now on. `code` is known when all workers have ended. */
function obey(keeper: Keeper, graceMs: number): { stop: AbortSignal; code(): Promise<number> } {
  const stopping = new AbortController();
  let code: Promise<number> | undefined;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (code) return keeper.kill();
      stopping.abort();
      code = keeper.end(graceMs).then((clean) => (clean ? EXIT.ok : EXIT.failed));
    });
  }
  process.on('SIGUSR2', () => void keeper.renew(graceMs));
  process.on('SIGHUP', () => keeper.reload());
  return { stop: stopping.signal, code: async () => code ?? EXIT.ok };
}

function openEndpoint(
  { metrics: address }: ProxySettings,
  keeper: Keeper,
  metrics: Metrics,
  stop: AbortSignal,
): Promise<Endpoint> {
  return startEndpoint({
    ...address,
    metrics: {
      async expose() {
        const workers = await keeper.numbers();
        return expose([...workers, withoutRelay(await metrics.numbers())]);
      },
    },
    async health() {
      const health = await keeper.health();
      return { ok: health.workers > 0 || stop.aborted, ...health };
    },
    async ready() {
      const health = await keeper.health();
      const whole = health.workers >= health.wanted && health.lease === 'held';
      return { ok: whole && !stop.aborted, ...health };
    },
  });
}

/** Resolves when `signal` aborts, after `first`, which is called within the abort itself. */
function aborted(signal: AbortSignal, first: () => void): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      first();
      resolve();
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}
