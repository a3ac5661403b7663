import { InvalidArgumentError, Option } from 'commander';
import ms from 'ms';
import { type Level, MAX_FILL_WORKERS, type ThrottleSettings } from '../backfill/job.js';
import { REASONS } from '../backfill/throttle.js';
import { bytes, duration, fillWorkers } from './options.js';

/** A threshold as it is written and shown; null: not asked for. */
export interface Threshold {
  flags: string;
  help: string;
  key: Exclude<keyof ThrottleSettings, 'levels'>;
  parse: (text: string) => number | string;
  show: (value: number | string | null) => string;
}

/** Signals that are as they are: without them the others say nothing. */
const FIXED: readonly string[] = ['stale', 'privilege', 'blocking', 'lock-wait', 'latency-learn'];
const NAMES: readonly string[] = REASONS.filter((name) => !FIXED.includes(name));
const LEVELS: readonly string[] = ['soft', 'hard', 'critical', 'off'];

/** What `off` is parsed to: commander makes an empty string of null. */
const OFF = 'off';

const orOff =
  <T>(parse: (text: string) => T) =>
  (text: string): T | typeof OFF =>
    text === OFF ? OFF : parse(text);

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw new InvalidArgumentError('Write a number.');
  }
  return value;
}

function httpUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password) {
    throw new InvalidArgumentError(
      'Write a URL such as http://host:port/path, without a password.',
    );
  }
  return url.href;
}

const show = (value: unknown, shown: (value: number) => string) =>
  value === null ? 'off' : shown(Number(value));
const time = (value: unknown) => show(value, (each) => ms(each));
const plain = (value: unknown) => (value === null ? 'off' : String(value));
const size = (value: unknown) =>
  show(value, (each) => {
    const units = ['B', 'kB', 'MB', 'GB'];
    let unit = 0;
    let left = each;
    for (; unit < 3 && left >= 1024 && left % 1024 === 0; unit++) left /= 1024;
    return `${left}${units[unit]}`;
  });

export const THRESHOLDS: readonly Threshold[] = [
  {
    flags: '--max-lag <duration>',
    help: 'replication lag in time',
    key: 'maxLagMs',
    parse: duration,
    show: time,
  },
  {
    flags: '--max-lag-bytes <size>',
    help: 'replication lag in WAL not yet replayed',
    key: 'maxLagBytes',
    parse: bytes,
    show: size,
  },
  {
    flags: '--chunk-time <duration>',
    help: 'what one chunk should take',
    key: 'chunkTargetMs',
    parse: duration,
    show: time,
  },
  {
    flags: '--fill-workers <n>',
    help: `chunks that are filled at once, 1 to ${MAX_FILL_WORKERS}`,
    key: 'fillWorkers',
    parse: fillWorkers,
    show: plain,
  },
  {
    flags: '--max-slot-wal <size>',
    help: 'WAL that a replication slot retains, or off',
    key: 'maxSlotBytes',
    parse: orOff(bytes),
    show: size,
  },
  {
    flags: '--max-unarchived <size>',
    help: 'WAL that is not archived yet, or off',
    key: 'maxArchiveBytes',
    parse: orOff(bytes),
    show: size,
  },
  {
    flags: '--max-transaction <duration>',
    help: 'age of what keeps VACUUM back, or off',
    key: 'maxTransactionMs',
    parse: orOff(duration),
    show: time,
  },
  {
    flags: '--max-active <sessions>',
    help: 'sessions that run a statement, or off',
    key: 'maxActive',
    parse: orOff(number),
    show: plain,
  },
  {
    flags: '--max-wal-rate <size>',
    help: 'WAL written a second, or off',
    key: 'maxWalRate',
    parse: orOff(bytes),
    show: size,
  },
  {
    flags: '--max-wal <size>',
    help: 'WAL on the disk, or off',
    key: 'maxWalBytes',
    parse: orOff(bytes),
    show: size,
  },
  {
    flags: '--max-table-size <size>',
    help: 'the table with its indexes, or off',
    key: 'maxTableBytes',
    parse: orOff(bytes),
    show: size,
  },
  {
    flags: '--latency-baseline <duration>',
    help: "the application's p99 on the table before the backfill, or off",
    key: 'latencyBaselineMs',
    parse: orOff(duration),
    show: (value) => (value === null ? 'off' : `${Number(value).toFixed(1)}ms`),
  },
  {
    flags: '--latency-learn <duration>',
    help: 'filling after which it is held to learn the p99 without it, or off',
    key: 'latencyLearnMs',
    parse: orOff(duration),
    show: time,
  },
  {
    flags: '--latency-slow <times>',
    help: 'so many times that slows the backfill down, or off',
    key: 'latencySlow',
    parse: orOff(number),
    show: plain,
  },
  {
    flags: '--latency-stop <times>',
    help: 'so many times that stops it, or off',
    key: 'latencyStop',
    parse: orOff(number),
    show: plain,
  },
  {
    flags: '--throttle-query <sql>',
    help: 'a query that gives a number, or off',
    key: 'query',
    parse: orOff((text) => text),
    show: plain,
  },
  {
    flags: '--throttle-max <number>',
    help: 'the largest number of it with which the backfill goes on',
    key: 'queryMax',
    parse: number,
    show: plain,
  },
  {
    flags: '--throttle-url <url>',
    help: 'is asked with GET, and answers 200 to go on, or off',
    key: 'url',
    parse: orOff(httpUrl),
    show: plain,
  },
];

/** `wal-rate=hard`, given again and again. */
function level(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [name = '', chosen = '', ...rest] = text.split('=');
  if (!NAMES.includes(name) || !LEVELS.includes(chosen) || rest.length > 0) {
    throw new InvalidArgumentError(
      `Write NAME=LEVEL; names: ${NAMES.join(', ')}; levels: ${LEVELS.join(', ')}.`,
    );
  }
  return { ...before, [name]: chosen };
}

export function throttleOptions(): Option[] {
  return [
    ...THRESHOLDS.map(({ flags, help, parse }) => new Option(flags, help).argParser(parse)),
    new Option('--level <name=level>', 'soft, hard, critical or off for a signal').argParser(level),
  ];
}

/** What was given on the command line, as settings; `levels` are merged with those before. */
export function throttleChanges(
  given: Record<string, unknown>,
  before: ThrottleSettings,
): Partial<ThrottleSettings> {
  const changes: Record<string, unknown> = {};
  for (const { flags, key } of THRESHOLDS) {
    const value = given[new Option(flags).attributeName()];
    if (value !== undefined) changes[key] = value === OFF ? null : value;
  }
  const levels = given.level as Record<string, Level | 'off'> | undefined;
  if (levels) changes.levels = { ...before.levels, ...levels };
  return changes as Partial<ThrottleSettings>;
}

/** Every threshold and every level that is not the default one, a line each. */
export function describeThrottle(settings: ThrottleSettings): string {
  const lines = THRESHOLDS.map(({ flags, key, show }) => {
    const name = flags.split(' ')[0]!.slice(2);
    return `  ${name.padEnd(16)} ${show(settings[key])}`;
  });
  for (const [name, chosen] of Object.entries(settings.levels)) {
    lines.push(`  ${'level'.padEnd(16)} ${name}=${chosen}`);
  }
  return `${lines.join('\n')}\n`;
}
