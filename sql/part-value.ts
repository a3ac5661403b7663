import type { Node } from 'libpg-query';
import {
  castTo,
  type Fragment,
  fill,
  NULL_VALUE,
  prepareTemplate,
  prepareType,
  type Template,
} from './fragment.js';
import { Unsure } from './plan.js';
import type { ArrayType, PreparedColumn } from './prepared.js';
import { type Guard, quoteLiteral } from './rules.js';
import { fitsConstant, isBuiltIn, isRepeatable } from './safety.js';
import type { ByteString } from './tree.js';

/*
 * What a column holds after parts of it were assigned, as an expression: SQL has none for it. Of an
 * array of one dimension it is put together again, element by element, with the lower bound that it has:
 *
 *   SET a[i] = v      (SELECT array_fill(...) || ARRAY(SELECT CASE WHEN n = i THEN v ELSE a[n] END
 *                      FROM generate_series(least(lower, i) + 1, greatest(upper, i)) AS n) FROM ...)
 *
 * Of an array of more dimensions the server refuses one subscript, unless it is a slice. Of jsonb it is
 * what stands there with the key in it, of a point the other number beside it. None is known of a
 * composite type, whose fields the rules do not have: they may be altered at any time, and a row of
 * others fails. The client's own expressions stand in a SELECT without FROM, where no name
 * of ours can be taken for one of theirs.
 */

/** What stands behind a column's name: a field, an element or a slice. */
export type Step =
  | { kind: 'field' }
  | { kind: 'element'; index: Fragment }
  | { kind: 'slice'; lower: Fragment | null; upper: Fragment | null };

/** An assignment to a part of a column. */
export interface PartWrite {
  steps: readonly Step[];
  value: Fragment;
}

/** More elements than an array can have are an error of the server's, which may come later. */
const MAX_ELEMENTS = 134_217_728;
/** A jsonb array is filled up to an index: larger ones are left to the guard. */
const MAX_INDEX = 100_000;
const MAX_STEPS = 8;

/**
 * The value of a column after assignments to parts of it.
 *
 * @param before its value before them; null where there is no row yet, which is NULL.
 * @param guard `repair` makes good a value that is not known (a slice of an array of several
 *   dimensions): it is NULL here.
 * @throws Unsure `indirection` when it has no expression, or something may be evaluated only once.
 */
export function valueOfParts(
  column: PreparedColumn,
  before: Fragment | null,
  writes: readonly PartWrite[],
  guard: Guard,
): Fragment {
  const strict = guard === 'none';
  const isDomain = column.under !== null && !column.rule.type.endsWith('[]');
  // A domain may refuse NULL, which is not what the column gets.
  const nothing = castTo(NULL_VALUE, isDomain ? column.under! : column.type);
  const value = writes.reduce((whole, write) => {
    if (column.rule.generated) throw new Unsure('generated');
    if (column.rule.type === 'jsonb') return ofJson(whole, write, column, strict);
    const [step, ...more] = write.steps;
    // Checks of a domain that are not the client's own would be told before what is wrong with it.
    if (column.under && (!step || !isConstant(step))) throw new Unsure('indirection');
    // The server refuses it as soon as there is a row.
    if (column.array && step && more.length === 0 && isNull(step)) return whole;
    if (column.rule.type === 'point') return ofPoint(whole, write, strict);
    if (!column.array || !step || more.length > 0) throw new Unsure('indirection');
    if (step.kind === 'element')
      return ofElement(whole, step.index, write.value, { ...column.array, isDomain }, strict);
    if (step.kind === 'field' || (before && guard !== 'repair')) throw new Unsure('indirection');
    return ofSlice(whole, step, write.value, column, strict);
  }, before ?? nothing);
  return castTo(value, column.type);
}

/** The value as the part holds it. */
function partOf(value: Fragment, type: ArrayType, strict: boolean): Fragment {
  if (!isRepeatable(value.node, type.type.node, strict)) throw new Unsure('indirection');
  if (!fitsConstant(value.node, type.base.node, type.baseType)) throw new Unsure('type');
  return castTo(value, type.type);
}

const INTEGER = 'integer';

function indexOf(value: Fragment, strict: boolean): Fragment {
  if (!isRepeatable(value.node, {}, strict)) throw new Unsure('indirection');
  if ('A_Const' in value.node && !('ival' in value.node.A_Const)) throw new Unsure('indirection');
  return castTo(value, prepareType(INTEGER));
}

const templates = new Map<string, Template>();

/** A text with a NUL and a letter for each hole, made ready once. */
function made(text: string): Template {
  let template = templates.get(text);
  if (!template) {
    const parts = text.split(/\0(\w)/);
    template = prepareTemplate({
      texts: parts.filter((_, i) => i % 2 === 0),
      columns: parts.filter((_, i) => i % 2 === 1),
    });
    // Of jsonb there is one for each path.
    if (templates.size < 1000) templates.set(text, template);
  }
  return template;
}

function filled(text: string, values: Readonly<Record<string, Fragment>>): Fragment {
  return fill(made(text), (hole) => values[hole]!);
}

const is = (sign: string) => `OPERATOR(pg_catalog.${sign})`;

/** An array from `p.l` to `p.h`, each element as `element` says of its subscript. */
function arrayOf(element: (subscript: string) => string): string {
  const from = `p.l::bigint ${is('+')} 1`;
  return `pg_catalog.array_cat(pg_catalog.array_fill(${element('p.l')}, ARRAY[1], ARRAY[p.l]), ARRAY(SELECT ${element('s.n::integer')} FROM pg_catalog.generate_series(${from}, p.h) AS s (n)))`;
}

/** The bounds of the array that comes of it, from those of `q.a` and of the part. */
function bounds(lower: string, upper: string): string {
  const l = `LEAST(pg_catalog.array_lower(q.a, 1), ${lower})`;
  const h = `GREATEST(pg_catalog.array_upper(q.a, 1), ${upper})`;
  const count = `(${h}::bigint ${is('-')} ${l}::bigint)`;
  return `${l} AS l, CASE WHEN ${count} ${is('<')} ${MAX_ELEMENTS} THEN ${h}::bigint ELSE ${l}::bigint END AS h`;
}

const WITH_ELEMENT = arrayOf(
  (subscript) => `CASE WHEN ${subscript} ${is('=')} p.i THEN p.v ELSE p.a[${subscript}] END`,
);
const PARTS = `FROM (SELECT q.a, q.i, q.v, ${bounds('q.i', 'q.i')} FROM (SELECT \0a AS a, \0i AS i, \0v AS v) AS q) AS p`;
const ELEMENT = `(SELECT ${WITH_ELEMENT} ${PARTS} WHERE p.i IS NOT NULL)`;
/** What the server refuses stays what it is, so that no check of the domain fails before. */
const ELEMENT_OF_DOMAIN = `(SELECT CASE WHEN pg_catalog.array_ndims(p.a) ${is('>')} 1 THEN p.a ELSE ${WITH_ELEMENT} END ${PARTS})`;

function ofElement(
  whole: Fragment,
  index: Fragment,
  value: Fragment,
  type: ArrayType & { isDomain: boolean },
  strict: boolean,
): Fragment {
  if (!isBuiltIn(type.base.node)) throw new Unsure('indirection');
  const text = type.isDomain ? ELEMENT_OF_DOMAIN : ELEMENT;
  return filled(text, { a: whole, i: indexOf(index, strict), v: partOf(value, type, strict) });
}

const SLICED = `CASE WHEN p.v IS NULL OR p.i IS NULL OR p.u IS NULL OR p.u ${is('<')} p.i THEN COALESCE(p.a, '{}') WHEN pg_catalog.array_ndims(p.a) ${is('>')} 1 THEN NULL ELSE ${arrayOf(
  (subscript) =>
    `CASE WHEN ${subscript} ${is('>=')} p.i AND ${subscript} ${is('<=')} p.u THEN p.f[${subscript} ${is('-')} p.i ${is('+')} 1] ELSE p.a[${subscript}] END`,
)} END`;

function ofSlice(
  whole: Fragment,
  { lower, upper }: { lower: Fragment | null; upper: Fragment | null },
  value: Fragment,
  column: PreparedColumn,
  strict: boolean,
): Fragment {
  const { type, array } = column;
  if (!array || column.under || !isBuiltIn(array.base.node)) throw new Unsure('indirection');
  if (!isRepeatable(value.node, type.node, strict)) throw new Unsure('indirection');
  // What is no array is the server's to refuse.
  if ('A_Const' in value.node && !value.node.A_Const.isnull && !('sval' in value.node.A_Const)) {
    throw new Unsure('type');
  }
  const own = `SELECT \0a AS a, ${lower ? '\0i' : 'NULL::integer'} AS i, ${upper ? '\0u' : 'NULL::integer'} AS u, \0v AS v`;
  const low = lower ? 'r.i' : 'pg_catalog.array_lower(r.a, 1)';
  const high = upper ? 'r.u' : 'pg_catalog.array_upper(r.a, 1)';
  const ends = `SELECT r.a, ${low} AS i, ${high} AS u, r.v, ARRAY(SELECT pg_catalog.unnest(r.v)) AS f FROM (${own}) AS r`;
  const text = `(SELECT ${SLICED} FROM (SELECT q.a, q.i, q.u, q.v, q.f, ${bounds('q.i', 'q.u')} FROM (${ends}) AS q) AS p)`;
  return filled(text, {
    a: whole,
    v: castTo(value, type),
    ...(lower && { i: indexOf(lower, strict) }),
    ...(upper && { u: indexOf(upper, strict) }),
  });
}

type Key = { text: string } | { index: number };

function ofJson(
  whole: Fragment,
  { steps, value }: PartWrite,
  column: PreparedColumn,
  strict: boolean,
): Fragment {
  if (!isRepeatable(value.node, column.type.node, strict)) throw new Unsure('indirection');
  if ('A_Const' in value.node && !value.node.A_Const.isnull && !('sval' in value.node.A_Const)) {
    throw new Unsure('type');
  }
  if (steps.length > MAX_STEPS) throw new Unsure('indirection');
  // The server refuses it as soon as there is a row.
  if (steps.some(isNull)) return whole;
  const inner = jsonWith('p.b', steps.map(keyOf), 0);
  const text = `(SELECT ${inner} FROM (SELECT \0b AS b, COALESCE(\0v, 'null') AS v) AS p)`;
  return filled(text, { b: whole, v: castTo(value, column.type) });
}

function isConstant(step: Step): boolean {
  const node = step.kind === 'element' ? step.index.node : null;
  return node !== null && 'A_Const' in node && 'ival' in node.A_Const;
}

function isNull(step: Step): boolean {
  const bounds = step.kind === 'element' ? [step.index] : [];
  if (step.kind === 'slice') bounds.push(...[step.lower, step.upper].filter((one) => one !== null));
  return bounds.some(({ node }) => 'A_Const' in node && node.A_Const.isnull === true);
}

/** The type of a point's two numbers. */
function coordinate(): ArrayType {
  const type = prepareType('double precision');
  return { type, base: type, baseType: 'double precision' };
}

/** A point is an array of two: NULL in it changes nothing, and in a point that is NULL nothing does. */
function ofPoint(whole: Fragment, { steps, value }: PartWrite, strict: boolean): Fragment {
  const [step, ...more] = steps;
  const index = step?.kind === 'element' ? step.index.node : undefined;
  if (more.length > 0 || !index || !('A_Const' in index) || !('ival' in index.A_Const)) {
    throw new Unsure('indirection');
  }
  const place = index.A_Const.ival?.ival ?? 0;
  // The server refuses it as soon as there is a point.
  if (place !== 0 && place !== 1) return whole;
  const [x, y] = [0, 1].map((at) => (at === place ? `COALESCE(p.v, p.a[${at}])` : `p.a[${at}]`));
  const text = `(SELECT pg_catalog.point(${x}, ${y}) FROM (SELECT \0a AS a, \0v AS v) AS p)`;
  return filled(text, { a: whole, v: partOf(value, coordinate(), strict) });
}

/** A constant only: by its type and its look the server decides what it means. */
function keyOf(step: Step): Key {
  const node: Node = step.kind === 'element' ? step.index.node : ({} as Node);
  if (!('A_Const' in node)) throw new Unsure('indirection');
  if ('sval' in node.A_Const) {
    const text: ByteString = node.A_Const.sval?.sval ?? '';
    if (/^\s*[-+]?\d/.test(text) || !/^[ -~]*$/.test(text)) throw new Unsure('indirection');
    return { text };
  }
  if (!('ival' in node.A_Const)) throw new Unsure('indirection');
  const index = node.A_Const.ival?.ival ?? 0;
  if (Math.abs(index) > MAX_INDEX) throw new Unsure('indirection');
  return { index };
}

/** `base` with `p.v` at the end of the path. */
function jsonWith(base: string, [key, ...rest]: readonly Key[], depth: number): string {
  if (!key) return 'p.v';
  const [b, q] = [`b${depth}`, `q${depth}`];
  const name = 'text' in key ? `${quoteLiteral(key.text)}::text` : `'${key.index}'::text`;
  const child = `${b}.b ${is('->')} ${name}`;
  const below = 'text' in key ? child : `COALESCE(${child}, ${b}.b ${is('->')} ${key.index})`;
  const own = `SELECT ${b}.b, ${jsonWith(below, rest, depth + 1)} AS n FROM (SELECT ${base} AS b) AS ${b}`;
  const object = `${is('||')} pg_catalog.jsonb_build_object(${name}, ${q}.n)`;
  if ('text' in key) return `(SELECT COALESCE(${q}.b, '{}') ${object} FROM (${own}) AS ${q})`;
  const kind = `pg_catalog.jsonb_typeof(${q}.b) ${is('=')}`;
  const missing = `GREATEST(${key.index} ${is('-')} COALESCE(pg_catalog.jsonb_array_length(${q}.b), 0), 0)`;
  const padding = `pg_catalog.to_jsonb(pg_catalog.array_fill(NULL::integer, ARRAY[${missing}]))`;
  const array = `pg_catalog.jsonb_set(COALESCE(${q}.b, '[]') ${is('||')} ${padding}, ARRAY[${name}], ${q}.n, true)`;
  return `(SELECT CASE WHEN ${kind} 'object' THEN ${q}.b ${object} WHEN ${q}.b IS NULL OR ${kind} 'array' THEN ${array} ELSE ${q}.b END FROM (${own}) AS ${q})`;
}
