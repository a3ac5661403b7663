import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Numbers } from './aggregate.js';
import { METRICS, type MetricDefinition, type MetricName } from './table.js';
import { Timings } from './timings.js';

type NamesOf<K> = {
  [N in MetricName]: (typeof METRICS)[N]['kind'] extends K ? N : never;
}[MetricName];

type LabelsOf<N extends MetricName> = Record<(typeof METRICS)[N]['labels'][number], string>;

/**
 * The metrics of one process, by the names in the table. Built once and handed to whoever counts;
 * nothing here is global, so that tests can have as many as they like.
 */
export class Metrics {
  readonly registry = new Registry();
  private readonly phases = new Map<string, string>();
  private readonly byName = new Map<string, Counter | Gauge | Histogram | Timings>();

  /** @param processMetrics whether to add prom-client's own metrics of the Node process. */
  constructor(processMetrics = false) {
    if (processMetrics) {
      collectDefaultMetrics({
        register: this.registry,
        prefix: 'pgtandem_',
        // By default an idle process wakes up a hundred times a second to see whether it can.
        eventLoopMonitoringPrecision: 50,
      });
      // Gauges with the name of a counter, which Prometheus' own linter refuses; each is the sum of
      // a gauge with labels that stays.
      for (const what of ['handles', 'requests', 'resources']) {
        this.registry.removeSingleMetric(`pgtandem_nodejs_active_${what}_total`);
      }
    }
    for (const [name, definition] of Object.entries<MetricDefinition>(METRICS)) {
      const common = {
        name,
        help: definition.help,
        labelNames: [...definition.labels],
        registers: [this.registry],
        aggregator: definition.combined ?? ('sum' as const),
      };
      if (definition.kind === 'counter') this.byName.set(name, new Counter(common));
      else if (definition.kind === 'gauge') this.byName.set(name, new Gauge(common));
      else {
        const buckets = [...(definition.buckets ?? [])];
        const plain = definition.labels.length === 0;
        const config = { ...common, buckets };
        this.byName.set(name, plain ? new Timings(config) : new Histogram(config));
      }
    }
  }

  /** All of it in the text format of Prometheus. */
  expose(): Promise<string> {
    return this.registry.metrics();
  }

  /** All of it as plain data, for another process. */
  async numbers(): Promise<Numbers> {
    return (await this.registry.getMetricsAsJSON()) as unknown as Numbers;
  }

  /** Adds to a counter. */
  count<N extends NamesOf<'counter'>>(name: N, labels: LabelsOf<N>, by = 1): void {
    (this.byName.get(name) as Counter).inc(labels, by);
  }

  /** Sets a gauge. */
  set<N extends NamesOf<'gauge'>>(name: N, labels: LabelsOf<N>, value: number): void {
    (this.byName.get(name) as Gauge).set(labels, value);
  }

  /** Adds to a gauge (a negative number takes away). */
  add<N extends NamesOf<'gauge'>>(name: N, labels: LabelsOf<N>, by: number): void {
    (this.byName.get(name) as Gauge).inc(labels, by);
  }

  /** Records one observation of a histogram, in the metric's unit. */
  observe<N extends NamesOf<'histogram'>>(name: N, labels: LabelsOf<N>, value: number): void {
    const histogram = this.byName.get(name);
    if (histogram instanceof Timings) histogram.record(value);
    else (histogram as Histogram).observe(labels, value);
  }

  /** A histogram without labels, for those who write to it with every request. */
  timings(name: NamesOf<'histogram'>): Timings {
    return this.byName.get(name) as Timings;
  }

  /** Forgets the series of a gauge or counter with these labels (a standby or migration gone). */
  remove<N extends MetricName>(name: N, labels: LabelsOf<N>): void {
    this.byName.get(name)!.remove(labels);
  }

  /** Another process tells the phases from now on. */
  forgetPhases(): void {
    for (const [migration, phase] of this.phases) {
      this.remove('pgtandem_migration_phase', { migration, phase });
    }
    this.phases.clear();
  }

  /** Shows 1 for a migration's present phase, and 0 for the one it was in before. */
  showPhase(migration: string, phase: string): void {
    const before = this.phases.get(migration);
    if (before === phase) return;
    if (before !== undefined) this.set('pgtandem_migration_phase', { migration, phase: before }, 0);
    this.set('pgtandem_migration_phase', { migration, phase }, 1);
    this.phases.set(migration, phase);
  }
}
