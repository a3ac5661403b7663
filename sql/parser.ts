import { createRequire } from 'node:module';
import type { RawStmt } from 'libpg-query';
import { type ByteString, depthOf } from './tree.js';

/** The grammar's own verdict; `position` counts code points from 1, 0 when it is not known. */
export class SyntaxFailure extends Error {
  constructor(
    message: string,
    readonly position: number,
  ) {
    super(message);
  }
}

/**
 * The parser could not say what the text is: `depth`, it is nested too deeply; `parser`, the
 * instance died and none is ready yet (the text is to be tried again).
 */
export class ParserFailure extends Error {
  constructor(readonly reason: 'depth' | 'parser') {
    super(reason === 'depth' ? 'the statement is nested too deeply' : 'no parser is ready');
  }
}

/** Beyond it our own walks of the tree could exhaust the stack, as the parser's do at ten times. */
const MAX_DEPTH = 1_500;

/** What is used of the WebAssembly module that libpg-query wraps. */
interface Instance {
  readonly HEAPU8: Uint8Array;
  _malloc(size: number): number;
  _free(pointer: number): void;
  _wasm_parse_query_raw(text: number): number;
  _wasm_free_parse_result(result: number): void;
  getValue(pointer: number, type: 'i32'): number;
}

type Factory = () => Promise<Instance>;

/**
 * The package's own wrapper holds one instance for ever and wants UTF-16. A parse that overflows
 * the stack leaves its instance unfit, so we make instances ourselves: one in use, and one spare,
 * because making one is asynchronous and a rewrite is not.
 */
let factory: Factory | undefined;
let current: Instance | undefined;
let spare: Instance | undefined;
let making: Promise<void> | undefined;

/** Makes the parser ready; awaited once in a process before `makeRewriter` is called. */
export async function loadParser(): Promise<void> {
  factory ??= createRequire(import.meta.url)('libpg-query/wasm/libpg-query.js') as Factory;
  current ??= spare ?? (await factory());
  if (current === spare) spare = undefined;
  await prepareSpare();
}

/** Resolves when a spare instance stands ready; for tests and for `loadParser`. */
export function prepareSpare(): Promise<void> {
  if (spare || !factory) return Promise.resolve();
  making ??= factory()
    .then((instance) => {
      if (current) spare = instance;
      else current = instance;
    })
    .finally(() => {
      making = undefined;
    });
  return making;
}

/** Throws the instance away; the spare takes its place, and a new spare is made meanwhile. */
function replaceInstance(): void {
  current = spare;
  spare = undefined;
  // A failure (no memory) leaves no spare; the next parse that needs one asks again.
  prepareSpare().catch(() => undefined);
}

/**
 * Parses a text. The tree's strings are byte strings, its offsets bytes.
 *
 * @throws SyntaxFailure when the grammar does not know it, ParserFailure when nothing is known.
 */
export function parse(text: ByteString): RawStmt[] {
  if (text.includes('\0')) throw new SyntaxFailure('the text contains a NUL byte', 0);
  const json = parseRaw(text);
  const { stmts } = JSON.parse(json) as { stmts?: RawStmt[] };
  const list = stmts ?? [];
  // Each level takes more than five characters, so that a short tree need not be measured.
  if (json.length > 5 * MAX_DEPTH && depthOf(list) > MAX_DEPTH) throw new ParserFailure('depth');
  return list;
}

function parseRaw(text: ByteString): string {
  if (!factory) throw new Error('the parser is not loaded: await loadParser() first');
  if (!current) {
    prepareSpare().catch(() => undefined);
    throw new ParserFailure('parser');
  }
  const instance = current;
  try {
    return callParser(instance, text);
  } catch (error) {
    if (error instanceof SyntaxFailure) throw error;
    replaceInstance();
    throw new ParserFailure('depth');
  }
}

function callParser(instance: Instance, text: ByteString): string {
  const query = instance._malloc(text.length + 1);
  if (query === 0) throw new Error('out of memory');
  bytesAt(instance, query, text.length + 1).write(`${text}\0`, 'latin1');
  const result = instance._wasm_parse_query_raw(query);
  instance._free(query);
  if (result === 0) throw new Error('out of memory');
  const tree = instance.getValue(result, 'i32');
  const error = instance.getValue(result + 8, 'i32');
  if (error !== 0) {
    const message = cString(instance, instance.getValue(error, 'i32'));
    const position = instance.getValue(error + 16, 'i32');
    instance._wasm_free_parse_result(result);
    if (!/^(stack depth|memory|out of memory)/.test(message)) {
      throw new SyntaxFailure(message, position);
    }
    throw new Error(message);
  }
  const json = cString(instance, tree);
  instance._wasm_free_parse_result(result);
  return json;
}

function cString(instance: Instance, pointer: number): ByteString {
  if (pointer === 0) return '';
  const end = instance.HEAPU8.indexOf(0, pointer);
  return bytesAt(instance, pointer, end - pointer).toString('latin1');
}

function bytesAt(instance: Instance, pointer: number, length: number): Buffer {
  return Buffer.from(instance.HEAPU8.buffer, pointer, length);
}
