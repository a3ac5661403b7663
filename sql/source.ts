import { lex, type Token } from './lexer.js';
import type { ByteString } from './tree.js';

/** Tokens `first` to `last` (indexes, both included). */
export interface Span {
  first: number;
  last: number;
}

/** The tree said that something stands where it does not: the text is not rewritten. */
export class Misplaced extends Error {}

/** The client's text with its tokens: finds the ends that the tree does not give. */
export class Source {
  private list: Token[] | undefined;

  /** @param escaped where constants begin that have escapes and do not say so (escapes.ts). */
  constructor(
    readonly text: ByteString,
    readonly escaped: readonly number[] | null = null,
  ) {}

  private get tokens(): Token[] {
    this.list ??= lex(this.text, this.escaped !== null);
    return this.list;
  }

  /** How many tokens there are. */
  get count(): number {
    return this.tokens.length;
  }

  /** Index of the token that starts at a byte. */
  indexAt(offset: number): number {
    const { tokens } = this;
    let low = 0;
    let high = tokens.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (tokens[middle]!.start < offset) low = middle + 1;
      else high = middle;
    }
    if (tokens[low]?.start !== offset) throw new Misplaced(`no token at byte ${offset}`);
    return low;
  }

  start(index: number): number {
    return this.token(index).start;
  }

  end(index: number): number {
    return this.token(index).end;
  }

  /** Byte at which the server sees an expression begin: behind parentheses that only hold it. */
  valueStart(first: number): number {
    let index = first;
    while (this.word(index) === '(' && !/^(select|with|values)$/.test(this.word(index + 1)))
      index++;
    return this.start(index);
  }

  textOf(span: Span): ByteString {
    return this.text.slice(this.start(span.first), this.end(span.last));
  }

  /** A keyword or unquoted identifier in lower case, a mark or operator as it is, else ''. */
  word(index: number): ByteString {
    const token = this.tokens[index];
    if (!token) return '';
    if (token.kind !== 'word' && token.kind !== 'mark' && token.kind !== 'operator') return '';
    return this.text.slice(token.start, token.end).toLowerCase();
  }

  expect(index: number, ...words: string[]): void {
    words.forEach((word, i) => {
      if (this.word(index + i) !== word) throw new Misplaced(`no ${word} at token ${index + i}`);
    });
  }

  isName(index: number): boolean {
    const kind = this.tokens[index]?.kind;
    return kind === 'word' || kind === 'quoted';
  }

  /** Index after a name, its qualifiers included: `a.b.c`. */
  afterName(index: number): number {
    if (!this.isName(index)) throw new Misplaced(`no name at token ${index}`);
    let after = index + 1;
    while (this.word(after) === '.' && this.isName(after + 1)) after += 2;
    // U&"..." may be followed by its escape character.
    if (this.word(after) === 'uescape') after += 2;
    return after;
  }

  /** Index of the bracket that closes the one at `open`. */
  close(open: number): number {
    let depth = 0;
    for (let i = open; i < this.tokens.length; i++) {
      depth += nesting(this.word(i));
      if (depth === 0) return i;
    }
    throw new Misplaced(`nothing closes token ${open}`);
  }

  /**
   * The items of a list from token `from` on, split at the commas outside brackets. The list ends
   * before a token of which `ends` is true, a closing bracket, a semicolon or the end of the text.
   */
  items(from: number, ends: (index: number) => boolean = () => false): Span[] {
    const items: Span[] = [];
    let depth = 0;
    let first = from;
    for (let i = from; ; i++) {
      const word = this.word(i);
      const step = nesting(word);
      const last = i >= this.tokens.length;
      if (last || (depth === 0 && (step < 0 || word === ';' || word === ',' || ends(i)))) {
        if (first > i - 1) throw new Misplaced(`an empty item at token ${i}`);
        items.push({ first, last: i - 1 });
        if (word !== ',') return items;
        first = i + 1;
      }
      depth += step;
    }
  }

  private token(index: number): Token {
    const token = this.tokens[index];
    if (!token) throw new Misplaced(`no token ${index}`);
    return token;
  }
}

function nesting(word: string): number {
  if (word === '(' || word === '[') return 1;
  return word === ')' || word === ']' ? -1 : 0;
}
