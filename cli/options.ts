import { InvalidArgumentError, Option } from 'commander';
import ms from 'ms';
import { MAX_FILL_WORKERS } from '../backfill/job.js';
import type { Place } from './keeper/listeners.js';

/** Exit codes; docs/cli.md has the same table. */
export const EXIT = { ok: 0, failed: 1, usage: 2, refused: 3, notReached: 4 } as const;

/** `30m`, `1s`, `500ms`. @returns milliseconds. */
export function duration(text: string): number {
  const value = /^\d/.test(text) ? ms(text as ms.StringValue) : undefined;
  if (value === undefined || !Number.isFinite(value) || value < 0) {
    throw new InvalidArgumentError('Write a duration such as 500ms, 5s, 30m or 2h.');
  }
  return Math.round(value);
}

/** `64MB`, `1GB`. @returns bytes. */
export function bytes(text: string): number {
  const match = /^(\d+)\s*(B|kB|KB|MB|GB)?$/.exec(text);
  if (!match) throw new InvalidArgumentError('Write a size such as 64MB or 1GB.');
  const unit = { B: 0, kB: 1, KB: 1, MB: 2, GB: 3 }[match[2] ?? 'B'] ?? 0;
  return Number(match[1]) * 1024 ** unit;
}

/** How many chunks of a backfill are filled at once. */
export function fillWorkers(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > MAX_FILL_WORKERS) {
    throw new InvalidArgumentError(`Write a number from 1 to ${MAX_FILL_WORKERS}.`);
  }
  return value;
}

/** `127.0.0.1:6432`, `[::1]:6432`, `:6432`. */
export function address(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65535) {
    throw new InvalidArgumentError('Write an address such as 127.0.0.1:6432.');
  }
  return { host: match[1] ?? (match[2] || '0.0.0.0'), port };
}

/** `127.0.0.1:6432`, `unix:/run/pgtandem`; several, with commas between them. */
export function places(text: string): Place[] {
  return text.split(',').map((part) => {
    if (!part.startsWith('unix:')) return { kind: 'tcp', ...address(part) };
    const path = part.slice('unix:'.length);
    // Longer ones are cut off silently by the operating system.
    if (!path.startsWith('/') || Buffer.byteLength(path) > 90) {
      throw new InvalidArgumentError('Write an absolute path of at most 90 bytes after unix:.');
    }
    return { kind: 'unix', path };
  });
}

/** Permissions as chmod takes them: `0770`. */
export function mode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new InvalidArgumentError('Write a mode such as 0770.');
  return Number.parseInt(text, 8);
}

/** A whole number from 1 on. */
export function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('Write a number.');
  return value;
}

export function rows(text: string): number {
  const value = Number(text.replaceAll('_', ''));
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('Write a number.');
  return value;
}

export const databaseOption = () =>
  new Option('-d, --database <url>', 'connection string of the database, not of the proxy')
    .env('PGTANDEM_DATABASE')
    .makeOptionMandatory();

/** `NAME=postgres://...`, given again and again. */
export function namedTarget(
  text: string,
  before: { name: string; url: string }[],
): { name: string; url: string }[] {
  const match = /^([^=:/]+)=(.+)$/.exec(text);
  if (!match) {
    throw new InvalidArgumentError('Write it as NAME=postgres://user@host:port/database.');
  }
  return [...before, { name: match[1]!, url: match[2]! }];
}

export const jsonOption = () => new Option('--json', 'print JSON');

export const unusedForOption = () =>
  new Option(
    '--unused-for <duration>',
    'how long a column name must be unused before it is dropped (default: 1h); 0s: no matter',
  ).argParser(duration);

export const columnOrderOption = () =>
  new Option(
    '--column-order <order>',
    'when it is complete, go on showing columns in their old places, or as they lie',
  ).choices(['keep', 'physical']);
