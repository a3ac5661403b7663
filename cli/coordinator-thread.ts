import { parentPort, workerData } from 'node:worker_threads';
import { pino } from 'pino';
import { Metrics } from '../metrics/registry.js';
import { Coordinator } from '../migration/coordinator.js';
import type { CoordinationSettings, FromThread, ToThread } from './coordination.js';

/** The thread of a process's coordinators, one for each of its databases (coordination.ts). */

const { urls, logLevel } = workerData as CoordinationSettings;
const base = { worker: process.pid };
const log = pino({ level: logLevel, base }, pino.destination({ dest: 2 }));
const metrics = new Metrics();
const resigning = new AbortController();

const tell = (message: FromThread) => parentPort!.postMessage(message);

async function tellNumbers(id: number | null): Promise<void> {
  tell({ kind: 'numbers', id, numbers: await metrics.numbers() });
}

const coordinators = urls.map((url, database) => {
  return new Coordinator({ url, metrics, log, stray: () => tell({ kind: 'stray', database }) });
});

parentPort!.on('message', (message: ToThread) => {
  switch (message.kind) {
    case 'moved':
      coordinators[message.database]!.moved();
      break;
    case 'tell':
      void tellNumbers(message.id);
      break;
    case 'resign':
      resigning.abort();
  }
});

await Promise.all(coordinators.map((coordinator) => coordinator.run(resigning.signal)));
await tellNumbers(null);
parentPort!.close();
