import { type Logger, pino } from 'pino';
import { Metrics } from '../metrics/registry.js';
import { Coordinator } from '../migration/coordinator.js';
import { Follower } from '../migration/follower.js';
import { Proxy as Relay } from '../proxy/proxy.js';
import { loadParser, makeRewriter } from '../sql/rewriter.js';
import { warmUp } from '../sql/warm.js';
import { openDatabase } from './database.js';
import type { LeaseState, WorkerHealth } from './keeper/health.js';
import type { WorkerSettings } from './keeper/messages.js';
import { upstreamOf } from './upstream.js';
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
 * Starts a proxy with its follower and coordinator, and wires them: rules go from the follower to
 * the proxy, and what the proxy has drained goes back as an acknowledgement. Resolves when the
 * first rules are in force.
 * @throws UserError when the database cannot be reached.
 */
export async function serve(settings: WorkerSettings): Promise<Serving> {
  const base = { worker: process.pid };
  const log = pino({ level: settings.logLevel, base }, pino.destination({ dest: 2 }));
  const metrics = new Metrics(true);
  await loadParser();
  warmUp();
  const upstream = upstreamOf(settings.upstream);
  const control = await openDatabase(settings.upstream);
  const { rows } = await control.query('SELECT current_database() AS name');
  await control.end();
  const proxy = new Relay({
    upstream,
    database: rows[0].name,
    metrics,
    log,
    makeRewriter: (rules) => makeRewriter(rules),
    limits: settings.limits,
  });
  const follower = new Follower({
    url: settings.upstream,
    address: `${settings.address} (pid ${process.pid})`,
    version: version(),
    log,
  });
  let lease: LeaseState = 'held';
  let ruled!: () => void;
  const firstRules = new Promise<void>((resolve) => {
    ruled = resolve;
  });
  const leaving = new AbortController();
  const follow = async () => {
    for await (const item of follower.follow(leaving.signal)) {
      if (item.kind === 'rules') {
        const { rules } = item;
        log.info({ epoch: rules.epoch, tables: rules.tables.map((table) => table.name) }, 'rules');
        // Not awaited: the next rules may come before this drain is over.
        const drained = rules.epoch === 0 ? Promise.resolve() : proxy.apply(rules);
        drained.then(
          () => follower.acknowledge(rules.epoch),
          (error) => log.error({ error: String(error) }, 'rules could not be put in force'),
        );
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
  const resigning = new AbortController();
  const coordinator = new Coordinator({ url: settings.upstream, metrics, log });
  const coordinated = coordinator.run(resigning.signal);
  return {
    proxy,
    metrics,
    log,
    health: () => ({ lease, ...proxy.stats() }),
    reload: () => log.info({}, 'reload'),
    async drain(graceMs, gently) {
      // Another process may coordinate from now on.
      resigning.abort();
      await proxy.close(graceMs, gently);
      // The rules are followed to the last session: until then others wait for its word.
      leaving.abort();
      await Promise.all([followed, coordinated]);
    },
  };
}
