import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks are hundredths of a second on every Linux that Node runs on (USER_HZ). */
const NS_PER_TICK = 1e7;

/**
 * A process and all that descend from it, as `/proc` shows them (Linux only).
 * https://www.kernel.org/doc/html/latest/filesystems/proc.html
 */
export function family(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const parent = parentOf(Number(entry));
    if (parent !== null) children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
  }
  const found = [pid];
  for (const each of found) found.push(...(children.get(each) ?? []));
  return found;
}

function parentOf(pid: number): number | null {
  const fields = afterName(pid);
  return fields && Number(fields[1]);
}

/** Fields of /proc/PID/stat from the third on. */
function afterName(pid: number): string[] | null {
  const stat = read(`/proc/${pid}/stat`);
  return stat === null ? null : stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/**
 * CPU time of these processes so far, nanoseconds (user and system, all threads), with that of
 * children they have waited for (socat has one for each connection).
 */
export function cpuOf(pids: readonly number[]): number {
  let ns = 0;
  for (const pid of pids) {
    const fields = afterName(pid);
    if (fields) ns += (Number(fields[13]) + Number(fields[14])) * NS_PER_TICK;
    for (const task of list(`/proc/${pid}/task`)) {
      const stat = read(`/proc/${pid}/task/${task}/schedstat`);
      if (stat !== null) ns += Number(stat.split(' ')[0]);
    }
  }
  return ns;
}

/** Resident memory of these processes that is not of a mapped file, bytes. */
export function residentOf(pids: readonly number[]): number {
  let kB = 0;
  for (const pid of pids) {
    kB += Number(/^RssAnon:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1] ?? 0);
  }
  return kB * 1024;
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return null; // It has ended.
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
