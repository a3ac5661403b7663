import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { parse, View } from 'vega';
import { compile } from 'vega-lite';
import { runBackfill } from '../../backfill/engine.js';
import { DEFAULT_THROTTLE } from '../../backfill/job.js';
import { walRate } from '../../backfill/signals/wal-rate.js';
import { connect } from '../../db/connect.js';
import { installSchema } from '../../db/schema.js';
import { Metrics } from '../../metrics/registry.js';
import { chartOf, type Point } from './chart.js';
import { setStage } from './stage.js';

/**
 * A real fill that a soft signal slows down, as a chart: the WAL that is written a second against
 * its limit, which is changed twice meanwhile, and what the controller makes of it.
 */

const options = new Command('bench/backfill/controller')
  .description('A chart of how a soft signal is held to its limit.')
  .argument('<file>', 'the chart, an SVG')
  .option('--rows <n>', 'rows of the table', Number, 2e6)
  .option('--seconds <n>', 'for each limit', Number, 20)
  .option(
    '--limits <list>',
    'of WAL a second, MB',
    (text) => text.split(',').map(Number),
    [4, 2, 6],
  )
  .parse();
const { rows, seconds, limits } = options.opts<{
  rows: number;
  seconds: number;
  limits: number[];
}>();

const MB = 1024 * 1024;
const SAMPLE_MS = 100;

const stage = await setStage(rows);
try {
  await stage.fresh('run');
  const points = await record(stage.cluster.url('run'));
  const { spec } = compile(chartOf(points));
  const svg = await new View(parse(spec), { renderer: 'none' }).toSVG();
  writeFileSync(options.args[0]!, svg);
  const beyond = points.filter(({ rate, limit }) => rate > limit * 1.1).length / points.length;
  console.log(`${points.length} samples, ${(beyond * 100).toFixed(0)}% more than a tenth beyond`);
} finally {
  await stage.stop();
}

async function record(url: string): Promise<Point[]> {
  const client = await connect({ url, role: 'bench' });
  await installSchema(client);
  const made = await client.query(
    `INSERT INTO pgtandem.migration (name, definition, plan, phase, settings)
     VALUES ('controller', '{}', '{}', '{}', '{}')
     RETURNING id::int, 'pgbench_accounts'::regclass::oid::int AS oid`,
  );
  await client.query('ALTER TABLE pgbench_accounts ADD COLUMN abalance_new bigint');
  const { id, oid } = made.rows[0];
  const abort = new AbortController();
  const startMs = performance.now();
  const limitMB = () =>
    limits[
      Math.min(limits.length - 1, Math.floor((performance.now() - startMs) / 1000 / seconds))
    ]!;
  const engine = runBackfill({
    url,
    job: {
      migrationId: id,
      migration: 'controller',
      table: { oid, schema: 'public', name: 'pgbench_accounts' },
      set: [{ column: 'abalance_new', value: 'abalance::bigint' }],
      pending: 'abalance_new IS DISTINCT FROM abalance::bigint',
      silenceTriggers: false,
    },
    settings: () => ({ ...DEFAULT_THROTTLE, maxWalRate: limitMB() * MB }),
    metrics: new Metrics(),
    signal: abort.signal,
  });
  let factor = 1;
  let chunkMs = 0;
  let chunkRows = 0;
  let isOver = false;
  const filling = (async () => {
    for (let rowsFilled = 0; ; ) {
      const { done, value } = await engine.next();
      if (done) break;
      factor = value.restFactor;
      chunkMs = value.chunkMs;
      if (value.rowsFilled > rowsFilled) chunkRows = value.rowsFilled - rowsFilled;
      rowsFilled = value.rowsFilled;
    }
    isOver = true;
  })();
  // The engine's own measure of it, on a connection of our own.
  const source = walRate();
  const points: Point[] = [];
  while (!isOver && performance.now() - startMs < limits.length * seconds * 1000) {
    const atMs = performance.now();
    const now = await client.query(`SELECT ${source.sql} AS lsn`);
    const rate = source.take(now.rows[0].lsn, atMs) / MB;
    points.push({
      at: (atMs - startMs) / 1000,
      rate,
      limit: limitMB(),
      factor,
      chunkMs,
      chunkRows,
    });
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
  }
  abort.abort();
  await filling;
  await client.end();
  return points;
}
