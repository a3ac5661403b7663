import { Command, Option } from 'commander';
import { UserError } from '../../migration/errors.js';
import { DEFAULT_LIMITS } from '../../proxy/limits.js';
import type { Place } from '../keeper/listeners.js';
import { address, count, duration, mode, namedTarget, places } from '../options.js';
import { addTlsOptions, type TlsOptions } from '../tls.js';

interface ProxyCommandOptions extends TlsOptions {
  upstream: string;
  database: { name: string; url: string }[];
  listen: Place[];
  socketMode: number;
  proxyProtocol?: boolean;
  metrics: { host: string; port: number };
  workers: number;
  maxConnections: number;
  loginTimeout: number;
  connectTimeout: number;
  idleTimeout: number;
  tcpKeepalive: number;
  grace: number;
  warmUp: boolean;
  logLevel: string;
}

const USUAL_PLACES: Place[] = [{ kind: 'tcp', host: '127.0.0.1', port: 6432 }];

/** `--listen` adds to what was given before it, and not to the default. */
const addPlaces = (text: string, before: Place[]): Place[] =>
  before === USUAL_PLACES ? places(text) : [...before, ...places(text)];

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
      new Option('--listen <address>', 'where applications connect: host:port or unix:/path')
        .env('PGTANDEM_LISTEN')
        .argParser(addPlaces)
        .default(USUAL_PLACES, '127.0.0.1:6432'),
    )
    .addOption(
      new Option('--socket-mode <mode>', 'permissions of Unix sockets')
        .argParser(mode)
        .default(0o777, '0777'),
    )
    .option('--proxy-protocol', 'TCP clients come through a load balancer that sends PROXY v2')
    .addOption(
      new Option('--metrics <address>', 'where /metrics, /healthz and /readyz are served')
        .env('PGTANDEM_METRICS')
        .argParser(address)
        .default({ host: '127.0.0.1', port: 9187 }, '127.0.0.1:9187'),
    )
    .addOption(
      new Option('--workers <number>', 'processes that relay: one for each core that they may use')
        .env('PGTANDEM_WORKERS')
        .argParser(count)
        .default(1),
    )
    .addOption(
      new Option('--max-connections <number>', 'sessions at once; one more gets 53300')
        .argParser(count)
        .default(DEFAULT_LIMITS.connections),
    )
    .addOption(
      new Option('--login-timeout <duration>', 'from the connection to the end of the login')
        .argParser(duration)
        .default(DEFAULT_LIMITS.loginTimeoutMs, '60s'),
    )
    .addOption(
      new Option('--connect-timeout <duration>', 'for a connection to the server')
        .argParser(duration)
        .default(DEFAULT_LIMITS.connectTimeoutMs, '10s'),
    )
    .addOption(
      new Option('--idle-timeout <duration>', 'idle sessions end after it with 57P05; 0s: never')
        .argParser(duration)
        .default(DEFAULT_LIMITS.idleTimeoutMs, '0s'),
    )
    .addOption(
      new Option('--tcp-keepalive <duration>', 'silence until the kernel asks; 0s: it does not')
        .argParser(duration)
        .default(DEFAULT_LIMITS.keepAliveMs, '60s'),
    )
    .addOption(
      new Option('--grace <duration>', 'how long running statements may take to finish at the end')
        .argParser(duration)
        .default(10_000, '10s'),
    )
    .addOption(
      new Option(
        '--no-warm-up',
        'start sooner, and compile the rewriter when a migration begins',
      ).env('PGTANDEM_NO_WARM_UP'),
    )
    .addOption(
      new Option('--log-level <level>', 'what is logged')
        .choices(['debug', 'info', 'warn', 'error'])
        .default('info'),
    );
  return addTlsOptions(command).action(async (options: ProxyCommandOptions) => {
    if (options.loginTimeout === 0 || options.connectTimeout === 0) {
      throw new UserError('A timeout of 0 lets nobody in.', 'Give a longer one, or none.');
    }
    const { tls, tlsCert, tlsKey, tlsClientCa, tlsClientCert, scram } = options;
    const { runProxy } = await import('../run-proxy.js');
    process.exitCode = await runProxy({
      targets: [{ name: null, url: options.upstream }, ...options.database],
      tls: { tls, tlsCert, tlsKey, tlsClientCa, tlsClientCert, scram } as TlsOptions,
      places: options.listen,
      socketMode: options.socketMode,
      proxyProtocol: options.proxyProtocol ?? false,
      metrics: options.metrics,
      workers: options.workers,
      graceMs: options.grace,
      warmUp: options.warmUp,
      logLevel: options.logLevel,
      limits: {
        connections: options.maxConnections,
        loginTimeoutMs: options.loginTimeout,
        connectTimeoutMs: options.connectTimeout,
        idleTimeoutMs: options.idleTimeout,
        keepAliveMs: options.tcpKeepalive,
      },
    });
  });
}
