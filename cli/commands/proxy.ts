import { Command, Option } from 'commander';
import pino from 'pino';
import { startEndpoint } from '../../metrics/endpoint.js';
import { Metrics } from '../../metrics/registry.js';
import { Proxy as Relay } from '../../proxy/proxy.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import { warmUp } from '../../sql/warm.js';
import { address, duration, namedTarget } from '../options.js';
import { DatabaseTarget, refuseDuplicates } from '../target.js';
import { addTlsOptions, describeCertificate, loadTls, type TlsOptions } from '../tls.js';
import { version } from '../version.js';

export interface ProxySettings extends TlsOptions {
  upstream: string;
  /** Further databases, by the name that clients ask for. */
  databases: { name: string; url: string }[];
  listen: { host: string; port: number };
  metrics: { host: string; port: number } | null;
  graceMs: number;
  logLevel: string;
}

interface ProxyCommandOptions extends TlsOptions {
  upstream: string;
  database: { name: string; url: string }[];
  listen: { host: string; port: number };
  metrics: { host: string; port: number };
  grace: number;
  logLevel: string;
}

export function proxyCommand(): Command {
  const command = new Command('proxy')
    .description(
      'Run the proxy: applications connect to it instead of the server. It also carries out the ' +
        'migrations of its database (one proxy at a time does).',
    )
    .addOption(
      new Option('--upstream <url>', 'the server, and the role and database that control uses')
        .env('PGTANDEM_UPSTREAM')
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--database <name=url>', 'another database, by the name that clients ask for')
        .argParser(namedTarget)
        .default([], 'none'),
    )
    .addOption(
      new Option('--listen <address>', 'where applications connect')
        .env('PGTANDEM_LISTEN')
        .argParser(address)
        .default({ host: '127.0.0.1', port: 6432 }, '127.0.0.1:6432'),
    )
    .addOption(
      new Option('--metrics <address>', 'where /metrics, /healthz and /readyz are served')
        .env('PGTANDEM_METRICS')
        .argParser(address)
        .default({ host: '127.0.0.1', port: 9187 }, '127.0.0.1:9187'),
    )
    .addOption(
      new Option('--grace <duration>', 'how long running statements may take to finish at the end')
        .argParser(duration)
        .default(10_000, '10s'),
    )
    .addOption(
      new Option('--log-level <level>', 'what is logged')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('info'),
    );
  return addTlsOptions(command).action(async (options: ProxyCommandOptions) => {
    const running = await runProxy({
      ...options,
      databases: options.database,
      graceMs: options.grace,
    });
    const stop = () => running.stop();
    process.once('SIGTERM', stop);
    process.once('SIGINT', stop);
    process.on('SIGHUP', running.reload);
    await running.ended;
    process.removeListener('SIGHUP', running.reload);
  });
}

export interface RunningProxy {
  address: { host: string; port: number };
  metricsAddress: { host: string; port: number } | null;
  proxy: Relay;
  /** Reads certificates and keys again; what cannot be used is logged, and the old ones stay. */
  reload: () => void;
  stop: () => void;
  ended: Promise<void>;
}

/**
 * Starts a proxy, and for each of its databases what follows and carries out the migrations there.
 */
export async function runProxy(settings: ProxySettings): Promise<RunningProxy> {
  const log = pino({ level: settings.logLevel, base: null }, pino.destination({ dest: 2 }));
  const metrics = new Metrics(true);
  await loadParser();
  warmUp();
  const tls = loadTls(settings);
  const house = {
    address: `${settings.listen.host}:${settings.listen.port} (pid ${process.pid})`,
    version: version(),
    metrics,
    log,
  };
  const targets = await Promise.all(
    [{ name: null, url: settings.upstream }, ...settings.databases].map((target) =>
      DatabaseTarget.open(target, house),
    ),
  );
  refuseDuplicates(targets);
  for (const target of targets) await target.judge(settings.scram ?? 'auto', tls);
  const [main, ...others] = targets.map((target) => target.realm());
  const proxy = new Relay({
    ...main!,
    targets: others,
    listen: settings.listen,
    metrics,
    log,
    makeRewriter: (rules) => makeRewriter(rules),
    tls,
    scram: settings.scram,
  });
  const reload = () => {
    try {
      const fresh = loadTls(settings);
      if (fresh) proxy.reloadTls(fresh);
      for (const target of targets) target.reload();
      log.info({ certificate: fresh && describeCertificate(fresh) }, 'certificates read again');
    } catch (error) {
      log.error({ error: String(error) }, 'certificates not read again; the old ones stay');
    }
  };
  const stopping = new AbortController();
  const firstRules: Promise<void>[] = [];
  const runs = targets.map((target) => {
    let ruled!: () => void;
    firstRules.push(
      new Promise((resolve) => {
        ruled = resolve;
      }),
    );
    return target.run(proxy, stopping.signal, ruled);
  });
  const followed = Promise.all(runs);
  await Promise.race([Promise.all(firstRules), followed]);
  const bound = await proxy.listen();
  const state = () => ({
    lease: worst(targets.map(({ lease }) => lease)),
    ...(targets.length > 1 && { databases: targets.map((target) => target.state()) }),
    ...proxy.stats(),
  });
  const isReady = () => targets.every(({ following, lease }) => following && lease === 'held');
  const endpoint =
    settings.metrics === null
      ? null
      : await startEndpoint({
          ...settings.metrics,
          metrics,
          health: () => ({ ok: true, ...state() }),
          ready: () => ({ ok: isReady(), ...state() }),
        });
  log.info(
    { listen: bound, metrics: endpoint && { host: endpoint.host, port: endpoint.port } },
    'ready',
  );
  const ended = (async () => {
    await new Promise<void>((resolve) =>
      stopping.signal.addEventListener('abort', () => resolve(), { once: true }),
    );
    await proxy.close(settings.graceMs);
    await followed;
    await Promise.all(targets.map((target) => target.close()));
    await endpoint?.close();
  })();
  return {
    address: bound,
    metricsAddress: endpoint && { host: endpoint.host, port: endpoint.port },
    proxy,
    reload,
    stop: () => stopping.abort(),
    ended,
  };
}

function worst(leases: ('held' | 'doubt' | 'lost')[]): 'held' | 'doubt' | 'lost' {
  if (leases.includes('lost')) return 'lost';
  return leases.includes('doubt') ? 'doubt' : 'held';
}
