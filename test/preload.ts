import { createRequire } from 'node:module';

/**
 * Loaded before each file of tests (`.taprc`). tap makes every process that a test starts tell which files
 * it loads, for coverage and for `--changed`: another half a second of CPU for each `pgtandem`, which is
 * half of what all tests need, and neither is used here. It does so through process-on-spawn, which
 * has no types.
 *
 * @see https://node-tap.org/config/#node-arg-list
 */
const require = createRequire(import.meta.url);
const processOnSpawn: { removeAllListeners(): void } = require('process-on-spawn');
processOnSpawn.removeAllListeners();
// Two fifths of what the start of a proxy costs, which tests do hundreds of times.
process.env.PGTANDEM_NO_WARM_UP = 'true';
const { NODE_OPTIONS = '' } = process.env;
process.env.NODE_OPTIONS = NODE_OPTIONS.replace(/"?--import=[^" ]*processinfo[^" ]*"?/, '');
