/** What a psql script says next. */
export type Item =
  | {
      kind: 'statement';
      sql: string;
      /** Lines that follow COPY ... FROM STDIN; null: none do. */
      data: string | null;
      /** Where the columns of its row go as variables (\gset), by prefix; null: nowhere. */
      into: string | null;
      /** Whether each value of its result is a statement to be run (\gexec). */
      executes: boolean;
      /** Values of its parameters (\bind); null: it is a simple query. */
      bound: string[] | null;
    }
  | { kind: 'connect'; role: string | null };

const SPACE = /\s+|--[^\n]*/y;
const QUOTED = /[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"/y;
const DOLLAR = /\$([A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y;
const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y;
const VARIABLE = /:(?:'(\w+)'|"(\w+)"|(\w+))/y;
const ARGUMENT = /:?'(?:[^']|'')*'|\S+/g;
const TRUE = /^(t|true|1|on|yes)$/i;

/** Reads a psql script statement by statement, as far as the regression suite needs psql. */
export class Script {
  readonly variables: Map<string, string>;
  private at = 0;
  /** For each \if that is open: whether its branch is read, and whether one was. */
  private readonly branches: { on: boolean; was: boolean }[] = [];
  private bound: string[] | null = null;

  constructor(
    private readonly text: string,
    variables: Readonly<Record<string, string>>,
    private readonly environment: Readonly<Record<string, string>>,
  ) {
    this.variables = new Map(Object.entries(variables));
  }

  next(): Item | null {
    let sql = '';
    let depth = 0;
    let body = 0;
    let words: string[] = [];
    while (this.at < this.text.length) {
      const piece =
        this.match(SPACE) ?? this.comment() ?? this.match(QUOTED) ?? this.dollar() ?? null;
      if (piece !== null) {
        sql += piece;
        continue;
      }
      const char = this.text[this.at]!;
      if (char === '\\') {
        if (this.text[this.at + 1] === ';') {
          this.at += 2;
          sql += ';';
          continue;
        }
        const item = this.command(sql);
        if (item === 'quit') return null;
        if (item) return item;
        if (!this.isOn) sql = '';
        continue;
      }
      const word = this.match(WORD);
      if (word !== null) {
        words = [...words, word.toLowerCase()].slice(0, 6);
        body += nesting(words, word.toLowerCase(), body);
        sql += word;
        continue;
      }
      const variable = this.text[this.at - 1] === ':' ? null : this.variable();
      if (variable !== null) {
        sql += variable;
        continue;
      }
      this.at++;
      if (char === '(') depth++;
      if (char === ')') depth--;
      if (char !== ';' || depth > 0 || body > 0) {
        sql += char;
        continue;
      }
      if (this.isOn) return this.statement(sql, {});
      [sql, depth, body, words] = ['', 0, 0, []];
    }
    return sql.trim() && this.isOn ? this.statement(sql, {}) : null;
  }

  private get isOn(): boolean {
    return this.branches.every(({ on }) => on);
  }

  private match(pattern: RegExp): string | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found === undefined) return null;
    this.at += found.length;
    return found;
  }

  private comment(): string | null {
    if (!this.text.startsWith('/*', this.at)) return null;
    const from = this.at;
    let depth = 0;
    do {
      if (this.text.startsWith('/*', this.at)) depth++;
      else if (this.text.startsWith('*/', this.at)) depth--;
      else {
        this.at++;
        continue;
      }
      this.at += 2;
    } while (depth > 0 && this.at < this.text.length);
    return this.text.slice(from, this.at);
  }

  private dollar(): string | null {
    const from = this.at;
    const open = this.match(DOLLAR);
    if (open === null) return null;
    const close = this.text.indexOf(open, this.at);
    this.at = close < 0 ? this.text.length : close + open.length;
    return this.text.slice(from, this.at);
  }

  private variable(): string | null {
    VARIABLE.lastIndex = this.at;
    const found = VARIABLE.exec(this.text);
    if (!found) return null;
    const [all, literal, identifier, plain] = found;
    const value = this.variables.get(literal ?? identifier ?? plain!);
    if (value === undefined) return null;
    this.at += all.length;
    if (literal) return `'${value.replaceAll("'", "''")}'`;
    return identifier ? `"${value.replaceAll('"', '""')}"` : value;
  }

  private statement(sql: string, more: Partial<Extract<Item, { kind: 'statement' }>>): Item {
    const isCopy = /^\s*copy\b[\s\S]*\bfrom\s+std(in|out)\b/i.test(
      sql.replace(/^(\s|--.*\n)*/, ''),
    );
    const item: Item = {
      kind: 'statement',
      sql: sql.trim(),
      data: isCopy ? this.data() : null,
      into: null,
      executes: false,
      bound: this.bound,
      ...more,
    };
    this.bound = null;
    return item;
  }

  /** Lines up to `\.` */
  private data(): string {
    const start = this.text.indexOf('\n', this.at) + 1;
    const end = /^\\\.\r?$/m.exec(this.text.slice(start));
    if (start === 0 || !end) return '';
    this.at = start + end.index + end[0].length;
    return this.text.slice(start, start + end.index);
  }

  /** A backslash command; what is in the buffer before it may be sent by it. */
  private command(sql: string): Item | 'quit' | null {
    const end = this.text.indexOf('\n', this.at);
    const line = this.text.slice(this.at, end < 0 ? undefined : end);
    const [, name = '', rest = ''] = /^\\([a-z!?]+)\s*((?:(?!\s\\[a-z]).)*)/i.exec(line) ?? [];
    this.at += Math.max(2, /^\\([a-z!?]+)\s*((?:(?!\s\\[a-z]).)*)/i.exec(line)?.[0].length ?? 2);
    const args = rest.match(ARGUMENT) ?? [''];
    if (['if', 'elif', 'else', 'endif'].includes(name)) {
      this.branch(name, rest.trim());
      return null;
    }
    if (!this.isOn) return null;
    if (name === 'q' || name === 'quit') return 'quit';
    if (name === 'set') this.variables.set(args[0]!, this.expand(args.slice(1)));
    else if (name === 'unset') this.variables.delete(args[0]!);
    else if (name === 'getenv') this.variables.set(args[0]!, this.environment[args[1]!] ?? '');
    else if (name === 'bind') this.bound = rest.trim() === '' ? [] : args.map(unquoted);
    else if (name === 'c' || name === 'connect') {
      return { kind: 'connect', role: args[1] && args[1] !== '-' ? args[1] : null };
    } else if (name === 'copy' && /from\s+stdin/i.test(line)) this.data();
    else if (/^(g|gx|gdesc|crosstabview|watch|gset|gexec)$/.test(name) && sql.trim()) {
      const into = name === 'gset' ? (args[0] ?? '') : null;
      return this.statement(sql, { into, executes: name === 'gexec' });
    }
    return null;
  }

  private branch(name: string, condition: string): void {
    const last = this.branches.at(-1);
    const holds = TRUE.test(this.expand([condition]));
    if (name === 'if') this.branches.push({ on: holds, was: holds });
    else if (name === 'endif') this.branches.pop();
    else if (last) {
      last.on = !last.was && (name === 'else' || holds);
      last.was ||= last.on;
    }
  }

  private expand(words: readonly string[]): string {
    return words
      .map((word) => {
        const known = /^:\{\?(\w+)\}$/.exec(word)?.[1];
        if (known !== undefined) return String(this.variables.has(known));
        const name = /^:['"]?(\w+)['"]?$/.exec(word)?.[1];
        return name === undefined ? unquoted(word) : (this.variables.get(name) ?? word);
      })
      .join('');
  }
}

const unquoted = (word: string) => word.replace(/^'([\s\S]*)'$/, '$1').replaceAll("''", "'");

/** How a word changes the depth of BEGIN ATOMIC ... END in the body of a function. */
function nesting(words: readonly string[], word: string, depth: number): number {
  const isRoutine =
    words[0] === 'create' && words.some((w) => w === 'function' || w === 'procedure');
  if (!isRoutine) return 0;
  if (word === 'begin' || (word === 'case' && depth > 0)) return 1;
  return word === 'end' && depth > 0 ? -1 : 0;
}
