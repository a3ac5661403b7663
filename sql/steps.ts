import type { Node } from 'libpg-query';
import type { Fragment } from './fragment.js';
import type { Step } from './part-value.js';
import { type Plan, Unsure } from './plan.js';
import type { Source } from './source.js';

/** What stands behind a column's name, with its place in the text. */
export interface Indirection {
  steps: Step[];
  /** Index of the token after it. */
  after: number;
}

/**
 * Reads the fields and subscripts behind a column's name.
 *
 * @param name index of the name's token.
 * @throws Unsure `shape` when it is not as the tree says.
 */
export function readSteps(plan: Plan, name: number, nodes: readonly Node[]): Indirection {
  const { source } = plan;
  let at = name + 1;
  const steps = nodes.map((node): Step => {
    if (!('A_Indices' in node)) {
      if (source.word(at) !== '.' || !source.isName(at + 1)) throw new Unsure('shape');
      at += 2;
      return { kind: 'field' };
    }
    if (source.word(at) !== '[') throw new Unsure('shape');
    const { is_slice, lidx, uidx } = node.A_Indices;
    const close = source.close(at);
    const colon = is_slice ? colonOf(source, at, close) : at;
    const lower = part(plan, at + 1, colon - 1, lidx);
    const upper = part(plan, colon + 1, close - 1, uidx);
    at = close + 1;
    if (is_slice) return { kind: 'slice', lower, upper };
    if (!upper) throw new Unsure('shape');
    return { kind: 'element', index: upper };
  });
  return { steps, after: at };
}

function part(plan: Plan, first: number, last: number, node: Node | undefined): Fragment | null {
  if (!node) return null;
  if (last < first) throw new Unsure('shape');
  return plan.copy({ first, last }, node);
}

function colonOf(source: Source, open: number, close: number): number {
  for (let at = open + 1, depth = 0; at < close; at++) {
    const word = source.word(at);
    if (word === '(' || word === '[') depth++;
    else if (word === ')' || word === ']') depth--;
    else if (word === ':' && depth === 0) return at;
  }
  throw new Unsure('shape');
}
