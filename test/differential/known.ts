/**
 * A constant that is out of its type's range is found when the statement is planned (at Bind) or when
 * it runs, as the plan has it: what was answered in between is left out where the errors are the same.
 * So are rows in no order, of which one is not of the client's encoding.
 */
export function sameMoment(
  seen: string[],
  wanted: string[],
  isOrdered: boolean,
): [string[], string[]] {
  const before = isOrdered ? /^[2Tn] / : /^[2TnD] /;
  const behind = (lines: string[]) => {
    const at = lines.findIndex((line) => /^E .*"C":"22/.test(line));
    let from = at;
    while (from > 0 && before.test(lines[from - 1]!)) from--;
    return at < 0
      ? null
      : { error: lines[at], rest: [...lines.slice(0, from), ...lines.slice(at)] };
  };
  const [a, b] = [behind(seen), behind(wanted)];
  return a && b && a.error === b.error ? [a.rest, b.rest] : [seen, wanted];
}

/**
 * The known differences between errors.
 * @param text the statement, where there is only one. Of several rows that violate a unique key the first is told,
 * and which that is depends on the plan. The others are of statements that are wrong on any data: where there is
 * no cast at all between two types, the copy's cast says so (42846) before the assignment does
 * (42804), at the same place. Where a parameter is given two types (42P08), the copy's cast decides
 * which of its uses is called the wrong one.
 */
export function isKnown(
  seen: string | undefined,
  wanted: string | undefined,
  isRefused: boolean,
  text: string | null,
): boolean {
  if (!seen?.startsWith('E ') || !wanted?.startsWith('E ')) return false;
  const [a, b] = [JSON.parse(seen.slice(2)), JSON.parse(wanted.slice(2))];
  if (isRefused && (a.C === '0A000' || a.C === '23502' || PROOF.test(a.n ?? ''))) return true;
  // Partitions have an index of their own each, over the same columns.
  const key = ({ D }: { D?: string }) => /^Key \((.*?)\)=/.exec(D ?? '')?.[1];
  if (a.C === '23505' && b.C === '23505' && key(a) !== undefined && key(a) === key(b)) return true;
  if (a.C === '23505' && b.C === '23505') return a.n === b.n;
  // A row that is wrong in two ways, or one of two rows: columns that change lie last, rows elsewhere.
  if (a.C === '23502' && b.C === '23502') return (a.c === b.c) !== (a.t === b.t);
  // What must be prepared again is, before it is bound.
  if (a.C === '25P02' && b.C === '08P01') return /^bind message supplies/.test(b.M);
  // With a guard COPY writes row by row, without one many at once: which of two rows fails first.
  const isOfCopy = (said: { W?: string }) => /^COPY /m.test(said.W ?? '');
  if (a.C === '23505' && isOfCopy(a) && isOfCopy(b)) return true;
  // A trigger that changes a row which its partition refuses anyway is told instead of that.
  const isMisplaced = (said: string) => MOVING.test(said) || MISPLACED.test(said);
  if (isMisplaced(a.M) && isMisplaced(b.M)) return true;
  // So it is where the row that the server shows with 23514 is not of the client's encoding: that becomes 22P05.
  const isElse = b.C === '23502' || b.C === '22P05';
  if (MOVING.test(a.M) && OURS.test(a.D ?? '') && isElse) return true;
  // Where that is the plain table's own trigger, what else is wrong with the row may be told instead.
  if (MOVING.test(b.M) && b.D?.includes('"~make"') && /^23/.test(a.C)) return true;
  if (a.C === '42846' && b.C === '42804' && a.P === b.P) return true;
  if (a.C === '42846' && b.C === '42846') return a.M === b.M && a.P === b.P;
  // Of two mistakes that are in the text itself, whatever the data, either may be told.
  if (a.M !== b.M && isOfText(a) && isOfText(b)) return true;
  // The same mistake may be in it twice.
  const isSame = a.M === b.M && a.C === b.C && OF_TEXT.has(a.C) && text !== null;
  if (isSame && constantAt(text, a.P) === (constantAt(text, b.P) ?? '')) return true;
  // What is moved stands in VALUES, in the words of which a set or an aggregate is refused.
  if (/not allowed in VALUES/.test(a.M)) return a.C === b.C;
  return a.C === '42P08' && b.C === '42P08' && a.M === b.M;
}

/** @param position as an error gives it, in characters from 1 on. */
function constantAt(text: string, position: string): string | null {
  return /^'[^']*'/.exec([...text].slice(Number(position) - 1).join(''))?.[0] ?? null;
}

const MISPLACED = /violates partition constraint$/;
/** Triggers of the product, which come before the server checks what is NULL. */
const OURS = /"(~~pgtandem_guard|!!pgtandem_arrival)"/;
const MOVING = /^moving row to another partition during a BEFORE/;

/** The constraints by which the guard `reject` refuses a row. */
export const PROOF = /^_pgtandem_proof_/;

/** What analysing a statement finds: types that do not fit, constants that are none of theirs. */
const OF_TEXT = new Set(['42804', '42846', '42P08', '22P02', '22007', '22008', '22003']);

/** A constant that is none of its domain is found with them, and has a place as they do. */
const isOfText = (said: { C: string; d?: string; P?: string }) =>
  OF_TEXT.has(said.C) || (said.C === '23514' && said.d !== undefined && said.P !== undefined);

/** Kinds of the messages that differ, with their SQLSTATE. */
export function markOf(...lines: (string | undefined)[]): string {
  return lines.map((line) => `${line?.[0]}${/"C":"(.{5})"/.exec(line ?? '')?.[1] ?? ''}`).join();
}
