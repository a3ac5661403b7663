import type { Node } from 'libpg-query';

/**
 * Parse trees are plain JSON whose strings are byte strings: one character for each byte of the
 * client's text (latin1), so that nothing is lost whatever the encoding, and so that a tree's
 * offsets are indexes.
 */
export type ByteString = string;

/** The UTF-8 bytes of a text of ours, one character for each. */
export function toBytes(text: string): ByteString {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** The opposite of `toBytes`. */
export function fromBytes(bytes: ByteString): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** Keys that say where a node was written, which two texts of one meaning do not share. */
const PLACES = new Set([
  'location',
  'stmt_location',
  'stmt_len',
  'list_start',
  'list_end',
  'rexpr_list_start',
  'rexpr_list_end',
  'name_location',
  'type_location',
  'cte_location',
]);

/** Whether two trees are the same but for the places where things were written. */
export function sameTree(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, i) => sameTree(item, b[i]));
  }
  return sameFields(a as Fields, b as Fields);
}

type Fields = Record<string, unknown>;

function sameFields(a: Fields, b: Fields): boolean {
  let extra = 0;
  for (const key in b) if (!PLACES.has(key) && b[key] !== undefined) extra++;
  for (const key in a) {
    if (PLACES.has(key) || a[key] === undefined) continue;
    if (!sameTree(a[key], b[key])) return false;
    extra--;
  }
  return extra === 0;
}

/** How many objects and arrays are nested in each other at the deepest place; no recursion. */
export function depthOf(tree: unknown): number {
  let deepest = 0;
  const stack: [unknown, number][] = [[tree, 1]];
  for (let top = stack.pop(); top; top = stack.pop()) {
    const [node, depth] = top;
    if (typeof node !== 'object' || node === null) continue;
    if (depth > deepest) deepest = depth;
    for (const child of Object.values(node)) stack.push([child, depth + 1]);
  }
  return deepest;
}

/** The names in a list of String nodes; a star or anything else ends as `null`. */
export function strings(nodes: readonly Node[] | undefined): (ByteString | null)[] {
  return (nodes ?? []).map((node) => ('String' in node ? (node.String.sval ?? '') : null));
}

/** A list of String nodes. */
export function stringNodes(names: readonly ByteString[]): Node[] {
  return names.map((name) => ({ String: { sval: name } }));
}
