import { AggregatorRegistry, type Registry } from 'prom-client';
import { METRICS, type MetricDefinition } from './table.js';

/** The metrics of one process as plain data, also after JSON: what `Metrics.numbers` gives. */
export type Numbers = {
  name: string;
  help: string;
  type: string;
  aggregator?: string;
  values: { value: number | null; labels: Record<string, string | number>; metricName?: string }[];
}[];

/** Of prom-client's own metrics of a process, where the sum or the mean would say nothing. */
const WORST: Record<string, string> = {
  pgtandem_process_start_time_seconds: 'min',
  pgtandem_nodejs_eventloop_lag_seconds: 'max',
  pgtandem_nodejs_eventloop_lag_mean_seconds: 'max',
  pgtandem_nodejs_eventloop_lag_stddev_seconds: 'max',
  pgtandem_nodejs_eventloop_lag_p50_seconds: 'max',
  pgtandem_nodejs_eventloop_lag_p90_seconds: 'max',
  pgtandem_nodejs_eventloop_lag_p99_seconds: 'max',
};

/** The metrics of several processes as those of one, each combined by its way in the table. */
export async function combineNumbers(all: readonly Numbers[]): Promise<Numbers> {
  return (await registryOf(all).getMetricsAsJSON()) as unknown as Numbers;
}

/** The same, in the text format of Prometheus. */
export function expose(all: readonly Numbers[]): Promise<string> {
  return registryOf(all).metrics();
}

/**
 * What only grows. It stays in the sum when its process has gone, or has nothing to say: a sum
 * that shrank would be taken for a restart, and what is left of it for an increase.
 */
export function growing(numbers: Numbers): Numbers {
  return numbers.filter(isGrowing);
}

/**
 * What a process that relays nothing has to say: not the gauges of those that do, which are 0 in
 * it and would be the least of all.
 */
export function withoutRelay(numbers: Numbers): Numbers {
  const table: Record<string, MetricDefinition> = METRICS;
  return numbers.filter((metric) => {
    const definition = table[metric.name];
    return isGrowing(metric) || definition === undefined || definition.ofKeeper === true;
  });
}

/**
 * What a thread beside the relay has to say: it counts nothing but what has labels, and whatever has none is the relay's,
 * 0 here.
 */
export function labelled(numbers: Numbers): Numbers {
  const table: Record<string, MetricDefinition> = METRICS;
  return numbers.filter(({ name, values }) => {
    return values.length > 0 && (table[name]?.labels.length ?? 0) > 0;
  });
}

function isGrowing({ type }: Numbers[number]): boolean {
  return type === 'counter' || type === 'histogram';
}

function registryOf(all: readonly Numbers[]): Registry {
  return AggregatorRegistry.aggregate(
    all.map((numbers) =>
      numbers.map((metric) => ({
        ...metric,
        aggregator: WORST[metric.name] ?? metric.aggregator,
        // What is not a number is null in JSON.
        values: metric.values.filter(({ value }) => value !== null),
      })),
    ),
  );
}
