import { lex } from '../../sql/lexer.js';
import { fromBytes, toBytes } from '../../sql/tree.js';
import type { Call, Step } from './talk.js';

/** Whether steps still go wrong in the same way. */
export type Fails = (steps: readonly Step[]) => Promise<boolean>;

/**
 * The smallest of what still fails that is found by leaving out: steps, calls of a step, ways of
 * sending, and parts of texts.
 * @param tries at most; each is a whole case.
 */
export async function shrink(steps: readonly Step[], fails: Fails, tries = 400): Promise<Step[]> {
  let left = tries;
  const attempt: Fails = async (candidate) => left-- > 0 && (await fails(candidate));
  let best = await fewer([...steps], attempt);
  for (let i = 0; i < best.length; i++) {
    const replaced = (step: Step) => best.map((old, j) => (j === i ? step : old));
    const step = await fewer(best[i]!, (calls) => attempt(replaced([...calls])));
    best = replaced(step);
    for (let n = 0; n < step.length; n++) {
      const put = (call: Call) => {
        const now = best[i]!;
        return best.map((old, j) => (j === i ? now.map((c, k) => (k === n ? call : c)) : old));
      };
      for (const make of [plainer, ...SIMPLER]) {
        const call = make(best[i]![n]!);
        if (call && (await attempt(put(call)))) best = put(call);
      }
      const call = best[i]![n]!;
      const text = await shorter(call.text, (words) => attempt(put({ ...call, text: words })));
      best = put({ ...call, text });
    }
  }
  return best;
}

/** Leaves out ever smaller runs of items, as long as it goes wrong all the same. */
async function fewer<T>(
  items: T[],
  fails: (items: readonly T[]) => Promise<boolean>,
): Promise<T[]> {
  let best = items;
  for (let size = Math.ceil(best.length / 2); size >= 1; size = size === 1 ? 0 : size >> 1) {
    for (let at = 0; at < best.length; ) {
      const candidate = [...best.slice(0, at), ...best.slice(at + size)];
      if (candidate.length > 0 && (await fails(candidate))) best = candidate;
      else at += size;
    }
  }
  return best;
}

const plainer = (call: Call): Call | null =>
  call.mode === 'simple' || call.params.length > 0 ? null : { ...call, mode: 'simple', name: '' };

const SIMPLER: ((call: Call) => Call | null)[] = [
  (call) => (call.mode === 'named' ? { ...call, mode: 'extended', name: '' } : null),
  (call) => (call.limit > 0 ? { ...call, limit: 0 } : null),
  (call) => (call.declared ? { ...call, declared: false } : null),
  (call) => (call.binaryParams ? { ...call, binaryParams: false } : null),
  (call) => (call.binaryResults ? { ...call, binaryResults: false } : null),
  (call) => (call.describe !== 'none' ? { ...call, describe: 'none' } : null),
];

async function shorter(text: string, fails: (text: string) => Promise<boolean>): Promise<string> {
  const bytes = toBytes(text);
  const tokens = lex(bytes).map(({ start, end }) => fromBytes(bytes.slice(start, end)));
  const join = (words: readonly string[]) => words.join(' ');
  if (!(await fails(join(tokens)))) return text;
  return join(await fewer(tokens, (words) => fails(join(words))));
}

/** A case as a person reads it. */
export function print(steps: readonly Step[]): string {
  return steps.map((step) => step.map(printCall).join('\n')).join('\n--\n');
}

function printCall(call: Call): string {
  const { text, params, mode, copy } = call;
  const ways = [
    mode,
    call.declared && 'declared types',
    call.binaryParams && 'binary parameters',
    call.binaryResults && 'binary results',
    call.describe !== 'none' && `Describe ${call.describe}`,
    call.limit > 0 && `${call.limit} rows at once`,
  ].filter(Boolean);
  const values = params.length > 0 ? ` -- ${JSON.stringify(params.map(({ value }) => value))}` : '';
  const rows =
    typeof copy === 'string' ? copy : copy?.map((row) => `${JSON.stringify(row)}\n`).join('');
  return `${text};${values} [${ways.join(', ')}]${rows === undefined ? '' : `\n${rows}\\.`}`;
}
