/** A process that runs one backfill, to be killed: arguments are the URL, the job and settings as JSON. */
import { runBackfill } from '../../backfill/engine.js';
import { type BackfillJob, DEFAULT_THROTTLE } from '../../backfill/job.js';
import { Metrics } from '../../metrics/registry.js';

const [url, text, settings = '{}'] = process.argv.slice(2);
const job: BackfillJob = JSON.parse(text!);
const engine = runBackfill({
  url: url!,
  job,
  settings: () => ({ ...DEFAULT_THROTTLE, chunkTargetMs: 2, ...JSON.parse(settings) }),
  metrics: new Metrics(),
  signal: new AbortController().signal,
});
for (;;) {
  const { done, value } = await engine.next();
  if (done) break;
  process.stdout.write(`${value.blocksDone}\n`);
}
