import { type Logger, pino } from 'pino';
import { Metrics } from '../metrics/registry.js';
import { Proxy as Relay } from '../proxy/proxy.js';
import { loadParser, makeRewriter } from '../sql/rewriter.js';
import { warmUp } from '../sql/warm.js';
import { type WorkerHealth, worst } from './keeper/health.js';
import type { WorkerSettings } from './keeper/messages.js';
import { DatabaseTarget, refuseDuplicates } from './target.js';
import { describeCertificate, loadTls } from './tls.js';
import { version } from './version.js';

/** A proxy with all that belongs to it, which takes clients from whoever has accepted them. */
export interface Serving {
  readonly proxy: Relay;
  readonly metrics: Metrics;
  readonly log: Logger;
  health(): WorkerHealth;
  /** Reads again what may be changed while it runs. */
  reload(): void;
  /** Ends; as `Proxy.close`. Resolves when it has signed off. */
  drain(graceMs: number, gently: boolean): Promise<void>;
}

/**
 * Starts a proxy, and for each of its databases what follows and carries out the migrations there.
 * Resolves when the first rules are in force.
 * @param askOthers asks the other workers; null when none of them knows.
 * @throws UserError when the database cannot be reached.
 */
export async function serve(
  settings: WorkerSettings,
  askOthers: (topic: string, payload: unknown) => Promise<unknown>,
): Promise<Serving> {
  const base = { worker: process.pid };
  const log = pino({ level: settings.logLevel, base }, pino.destination({ dest: 2 }));
  const metrics = new Metrics(true);
  await loadParser();
  warmUp();
  const tls = loadTls(settings.tls);
  const house = {
    address: `${settings.address} (pid ${process.pid})`,
    version: version(),
    metrics,
    log,
  };
  const wanted = [{ name: null, url: settings.upstream }, ...settings.databases];
  const targets = await Promise.all(wanted.map((target) => DatabaseTarget.open(target, house)));
  refuseDuplicates(targets);
  for (const target of targets) await target.judge(settings.tls.scram ?? 'auto', tls);
  const [main, ...others] = targets.map((target) => target.realm());
  const proxy = new Relay({
    ...main!,
    targets: others,
    metrics,
    log,
    makeRewriter: (rules) => makeRewriter(rules),
    limits: settings.limits,
    tls,
    scram: settings.tls.scram,
    askOthers: async (key) => (await askOthers('cancel', key.toString('base64'))) === true,
  });
  const leaving = new AbortController();
  const resigning = new AbortController();
  const signals = { follow: leaving.signal, coordinate: resigning.signal };
  const runs: Promise<void>[] = [];
  const ruled = targets.map(
    (target) => new Promise<void>((first) => runs.push(target.run(proxy, signals, first))),
  );
  const ended = Promise.all(runs);
  await Promise.race([Promise.all(ruled), ended]);
  const reload = () => {
    try {
      const fresh = loadTls(settings.tls);
      if (fresh) proxy.reloadTls(fresh);
      for (const target of targets) target.reload();
      log.info({ certificate: fresh && describeCertificate(fresh) }, 'certificates read again');
    } catch (error) {
      log.error({ error: String(error) }, 'certificates not read again; the old ones stay');
    }
  };
  return {
    proxy,
    metrics,
    log,
    health: () => ({
      lease: worst(targets.map(({ lease }) => lease)),
      ...(targets.length > 1 && { databases: targets.map((target) => target.state()) }),
      ...proxy.stats(),
    }),
    reload,
    async drain(graceMs, gently) {
      // Another process may coordinate from now on.
      resigning.abort();
      await proxy.close(graceMs, gently);
      // The rules are followed to the last session: until then others wait for its word.
      leaving.abort();
      await ended;
      await Promise.all(targets.map((target) => target.close()));
    },
  };
}
