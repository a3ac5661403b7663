import { Command, Option } from 'commander';
import pino from 'pino';
import { startEndpoint } from '../../metrics/endpoint.js';
import { Metrics } from '../../metrics/registry.js';
import { Coordinator } from '../../migration/coordinator.js';
import { Follower } from '../../migration/follower.js';
import { Proxy as Relay } from '../../proxy/proxy.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import { warmUp } from '../../sql/warm.js';
import { openDatabase } from '../database.js';
import { address, duration } from '../options.js';
import { judgeScram, mayReadVerifiers, VerifierReader } from '../scram.js';
import { addTlsOptions, describeCertificate, loadTls, type TlsOptions } from '../tls.js';
import { reloadUpstream, upstreamOf } from '../upstream.js';
import { version } from '../version.js';

export interface ProxySettings extends TlsOptions {
  upstream: string;
  listen: { host: string; port: number };
  metrics: { host: string; port: number } | null;
  graceMs: number;
  logLevel: string;
}

interface ProxyCommandOptions extends TlsOptions {
  upstream: string;
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
    const running = await runProxy({ ...options, graceMs: options.grace });
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
 * Starts a proxy with its follower and coordinator, and wires them: rules go from the follower to
 * the proxy, and what the proxy has drained goes back as an acknowledgement.
 */
export async function runProxy(settings: ProxySettings): Promise<RunningProxy> {
  const log = pino({ level: settings.logLevel, base: null }, pino.destination({ dest: 2 }));
  const metrics = new Metrics(true);
  await loadParser();
  warmUp();
  const upstream = upstreamOf(settings.upstream);
  const tls = loadTls(settings);
  const control = await openDatabase(settings.upstream);
  const { rows } = await control.query('SELECT current_database() AS name');
  const verifiers = (await mayReadVerifiers(control))
    ? new VerifierReader(settings.upstream)
    : null;
  await control.end();
  const scram = {
    mode: settings.scram ?? 'auto',
    verifierOf: verifiers ? (user: string) => verifiers.verifierOf(user) : undefined,
  };
  const { ways, warning } = await judgeScram(scram, upstream, tls);
  log.info({ scram: ways, certificate: tls && describeCertificate(tls) }, 'encryption');
  if (warning) log.warn({ scram: ways }, warning);
  const proxy = new Relay({
    upstream,
    listen: settings.listen,
    database: rows[0].name,
    metrics,
    log,
    makeRewriter: (rules) => makeRewriter(rules),
    tls,
    scram,
  });
  const reload = () => {
    try {
      const fresh = loadTls(settings);
      if (fresh) proxy.reloadTls(fresh);
      reloadUpstream(upstream, settings.upstream);
      log.info({ certificate: fresh && describeCertificate(fresh) }, 'certificates read again');
    } catch (error) {
      log.error({ error: String(error) }, 'certificates not read again; the old ones stay');
    }
  };
  const stopping = new AbortController();
  const follower = new Follower({
    url: settings.upstream,
    address: `${settings.listen.host}:${settings.listen.port} (pid ${process.pid})`,
    version: version(),
    log,
  });
  let following = false;
  let lease: 'held' | 'doubt' | 'lost' = 'held';
  let ruled!: () => void;
  const firstRules = new Promise<void>((resolve) => {
    ruled = resolve;
  });
  const follow = async () => {
    for await (const item of follower.follow(stopping.signal)) {
      if (item.kind === 'rules') {
        const { rules } = item;
        log.info({ epoch: rules.epoch, tables: rules.tables.map((table) => table.name) }, 'rules');
        // Not awaited: the next rules may come before this drain is over.
        const drained = rules.epoch === 0 ? Promise.resolve() : proxy.apply(rules);
        drained.then(
          () => follower.acknowledge(rules.epoch),
          (error) => log.error({ error: String(error) }, 'rules could not be put in force'),
        );
        following = true;
        ruled();
      } else {
        lease = item.state;
        log.warn({ lease }, 'lease');
        proxy.fence(lease !== 'held');
        if (lease === 'lost') proxy.closeTouching('pgtandem has lost touch with its database');
      }
    }
  };
  const followed = follow();
  await Promise.race([firstRules, followed]);
  const bound = await proxy.listen();
  const coordinator = new Coordinator({ url: settings.upstream, metrics, log });
  const coordinated = coordinator.run(stopping.signal);
  const state = () => ({ lease, ...proxy.stats() });
  const endpoint =
    settings.metrics === null
      ? null
      : await startEndpoint({
          ...settings.metrics,
          metrics,
          health: () => ({ ok: true, ...state() }),
          ready: () => ({ ok: following && lease === 'held', ...state() }),
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
    await Promise.all([followed, coordinated, verifiers?.close()]);
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
