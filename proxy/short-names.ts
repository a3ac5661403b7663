import { cString } from './messages.js';

/** Slots of the table, a power of two: a session has few statements that it uses all the time. */
const SLOTS = 32;
/** Longer names are not remembered. */
const LONGEST = 64;

/**
 * Reads the names of statements and portals, which are the same few again and again: a name that
 * was read before is found by its bytes, without a call of the runtime and without a new string.
 */
export class ShortNames {
  private slots: string[] | null = null;

  /** The bytes of a C string from `at`, its NUL left out; null when there is no NUL before `end`. */
  read(buf: Buffer, at: number, end: number): string | null {
    const stop = Math.min(end, at + LONGEST);
    let hash = 0;
    let pos = at;
    for (; pos < stop; pos++) {
      const byte = buf[pos]!;
      if (byte === 0) break;
      hash = (Math.imul(hash, 31) + byte) | 0;
    }
    if (pos === at && pos < stop) return '';
    if (pos === stop) return cString(buf, at, end);
    this.slots ??= new Array(SLOTS).fill('');
    const slot = hash & (SLOTS - 1);
    const known = this.slots[slot]!;
    if (known.length === pos - at && isAt(known, buf, at)) return known;
    const name = buf.toString('latin1', at, pos);
    this.slots[slot] = name;
    return name;
  }
}

function isAt(name: string, buf: Buffer, at: number): boolean {
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) !== buf[at + i]) return false;
  return true;
}
