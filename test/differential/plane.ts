import type pg from 'pg';
import type { Cluster } from '../../cli/demo/cluster.js';
import { connect } from '../../db/connect.js';
import { Metrics } from '../../metrics/registry.js';
import { Coordinator } from '../../migration/coordinator.js';
import { Follower } from '../../migration/follower.js';
import { Proxy as Relay } from '../../proxy/proxy.js';
import type { Rewrite } from '../../sql/outcome.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { RuleSet } from '../../sql/rules.js';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

/**
 * A proxy with its control plane, in this process: the same parts that `pgtandem proxy` puts
 * together. What the rewriter made of each text is kept, and rules may be held back from being
 * acknowledged, so that a migration stays where it is while they are in force already.
 */
export class Front {
  /** The last outcome of each text. */
  readonly outcomes = new Map<string, Rewrite>();
  readonly errors: string[] = [];
  private readonly stopping = new AbortController();
  private running: Promise<unknown> = Promise.resolve();
  private holding: string | null = null;
  private release: () => void = () => undefined;
  private ruled: () => void = () => undefined;

  private constructor(
    readonly relay: Relay,
    readonly port: number,
    readonly control: pg.Client,
    readonly metrics: Metrics,
  ) {}

  static async open(cluster: Cluster, database: string): Promise<Front> {
    await loadParser();
    const url = cluster.url(database);
    const metrics = new Metrics();
    const control = await connect({ url, role: 'test' });
    const outcomes: { keep: (text: Buffer, rewrite: Rewrite) => void } = { keep: () => undefined };
    const relay = new Relay({
      upstream: { host: '127.0.0.1', port: cluster.port },
      listen: { host: '127.0.0.1', port: 0 },
      database,
      metrics,
      log: { ...quiet, error: (_, message) => void front.errors.push(message) },
      makeRewriter: (rules) => recorded(rules, (text, rewrite) => outcomes.keep(text, rewrite)),
    });
    const { port } = await relay.listen();
    const front: Front = new Front(relay, port, control, metrics);
    outcomes.keep = (text, rewrite) => front.outcomes.set(text.toString(), rewrite);
    const follower = new Follower({ url, address: 'here', version: 'test', log: quiet });
    const coordinator = new Coordinator({ url, metrics, log: quiet });
    const first = new Promise<void>((resolve) => {
      front.ruled = resolve;
    });
    const { signal } = front.stopping;
    front.running = Promise.all([front.follow(follower, signal), coordinator.run(signal)]);
    await first;
    return front;
  }

  /**
   * From now on the first rules that write a column of this table are not acknowledged; resolves when they are
   * in force. The returned function acknowledges them.
   */
  async hold(table: string, start: () => Promise<unknown>): Promise<() => void> {
    this.holding = table;
    const held = new Promise<void>((resolve) => {
      this.ruled = resolve;
    });
    await start();
    await held;
    return () => this.release();
  }

  private async follow(follower: Follower, signal: AbortSignal): Promise<void> {
    for await (const item of follower.follow(signal)) {
      if (item.kind !== 'rules') continue;
      const { rules, place } = item;
      if (rules.epoch > 0) await this.relay.apply(rules);
      const { holding } = this;
      const isWriting = rules.tables.some((t) => t.name === holding && t.pairs.length > 0);
      if (isWriting) {
        this.holding = null;
        this.release = () => follower.acknowledge(rules.epoch, place);
        this.ruled();
      } else {
        follower.acknowledge(rules.epoch, place);
        if (holding === null) this.ruled();
      }
    }
  }

  async close(): Promise<void> {
    this.stopping.abort();
    await this.running;
    await this.control.end();
    await this.relay.close(0);
  }
}

function recorded(rules: RuleSet, keep: (text: Buffer, rewrite: Rewrite) => void) {
  const rewriter = makeRewriter(rules);
  return {
    rules,
    names: rewriter.names,
    mayTouch: (text: Buffer) => rewriter.mayTouch(text),
    rewrite(...all: Parameters<typeof rewriter.rewrite>) {
      const rewrite = rewriter.rewrite(...all);
      keep(all[0], rewrite);
      return rewrite;
    },
    mapPosition: rewriter.mapPosition,
  };
}
