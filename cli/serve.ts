import { type Logger, pino } from 'pino';
import type { Numbers } from '../metrics/aggregate.js';
import { Metrics } from '../metrics/registry.js';
import { Proxy as Relay } from '../proxy/proxy.js';
import { loadParser, makeRewriter } from '../sql/rewriter.js';
import { warmUp } from '../sql/warm.js';
import { Coordination } from './coordination.js';
import { type WorkerHealth, worstLease } from './keeper/health.js';
import type { WorkerSettings } from './keeper/messages.js';
import type { Peers } from './keeper/peers.js';
import { DatabaseTarget, refuseDuplicates } from './target.js';
import { describeCertificate, loadTls } from './tls.js';
import { version } from './version.js';

/** A proxy with all that belongs to it, which takes clients from whoever has accepted them. */
export interface Serving {
  readonly proxy: Relay;
  readonly log: Logger;
  /** Its metrics, as plain data. */
  numbers(): Promise<Numbers>;
  health(): WorkerHealth;
  /** Reads certificates and keys again; what cannot be used is logged, and the old ones stay. */
  reload(): void;
  /** Ends; as `Proxy.close`. Resolves when it has signed off. */
  drain(graceMs: number, gently: boolean): Promise<void>;
}

/**
 * Starts a proxy, and for each of its databases what follows and carries out the migrations there.
 * Resolves when the first rules are in force.
 * @param peers the other processes of this proxy.
 * @throws UserError when a database cannot be reached, or for settings that cannot work.
 */
export async function serve(settings: WorkerSettings, peers: Peers): Promise<Serving> {
  const base = { worker: process.pid };
  const log = pino({ level: settings.logLevel, base }, pino.destination({ dest: 2 }));
  const metrics = new Metrics(true);
  await loadParser();
  if (settings.warmUp) warmUp();
  const tls = loadTls(settings.tls);
  const house = {
    address: `${settings.address} (pid ${process.pid})`,
    version: version(),
    metrics,
    log,
  };
  const targets = await Promise.all(
    settings.targets.map((target) => DatabaseTarget.open(target, house)),
  );
  refuseDuplicates(targets);
  for (const target of targets) await target.judge(settings.tls.scram ?? 'auto', tls);
  const [main, ...others] = targets.map((target) => target.realm());
  const proxy = new Relay({
    ...main!,
    targets: others,
    metrics,
    log,
    makeRewriter: (rules) => makeRewriter(rules),
    tls,
    scram: settings.tls.scram,
    limits: settings.limits,
    askForRoom: async () => (await peers.ask('room', null)) === true,
    askOthers: async (key) => (await peers.ask('cancel', key.toString('hex'))) === true,
  });
  peers.answer('cancel', async (key) => {
    return (await proxy.cancelHere(Buffer.from(String(key), 'hex'))) || null;
  });
  peers.answer('taken', async () => {
    // Who has just been told that there is room takes it first.
    await new Promise(setImmediate);
    return proxy.taken;
  });
  const leaving = new AbortController();
  const firstRules: Promise<void>[] = [];
  // They have work at once; sessions wait for the rules only.
  const ruled = targets.filter((target) => target.isRuled);
  const urls = ruled.map(({ url }) => url);
  const stray = (database: number) => ruled[database]!.stray();
  const { logLevel } = settings;
  const coordination = urls.length > 0 ? new Coordination({ urls, logLevel }, stray) : null;
  const runs = targets.map((target) => {
    let known!: () => void;
    firstRules.push(
      new Promise((resolve) => {
        known = resolve;
      }),
    );
    const moved = () => coordination?.moved(ruled.indexOf(target));
    return target.run(proxy, leaving.signal, known, moved);
  });
  const followed = Promise.all(runs);
  await Promise.race([Promise.all(firstRules), followed]);
  return {
    proxy,
    log,
    numbers: async () => {
      const told = await Promise.all([metrics.numbers(), coordination?.numbers()]);
      return told.flatMap((numbers) => numbers ?? []);
    },
    health: () => ({
      lease: worstLease(targets.map(({ lease }) => lease)),
      ...(targets.length > 1 && { databases: targets.map((target) => target.state()) }),
      ...proxy.stats(),
    }),
    reload() {
      try {
        const fresh = loadTls(settings.tls);
        if (fresh) proxy.reloadTls(fresh);
        for (const target of targets) target.reload();
        log.info({ certificate: fresh && describeCertificate(fresh) }, 'certificates read again');
      } catch (error) {
        log.error({ error: String(error) }, 'certificates not read again; the old ones stay');
      }
    },
    async drain(graceMs, gently) {
      const resigned = coordination?.resign();
      await proxy.close(graceMs, gently);
      // The rules are followed to the last session: until then others wait for its word.
      leaving.abort();
      await followed;
      await resigned;
      await Promise.all(targets.map((target) => target.close()));
    },
  };
}
