import { writeFileSync } from 'node:fs';
import { Transform, type TransformCallback } from 'node:stream';

/** One line of TAP that says how an assertion, or a subtest as a whole, has ended. */
interface Point {
  depth: number;
  ok: boolean;
  /** Skipped, or known to be missing (`# TODO`): neither passed nor failed. */
  excused: boolean;
  name: string;
  seconds: number;
}

/** Comments of a file that are shown when it has failed, such as the seed of its randomness. */
const COMMENTS = 20;

const emptyFile = () => ({ passed: 0, failed: 0, excused: 0, comments: [] as string[] });

const POINT = /^( *)(not )?ok\b(?: +\d+)?(?: +- )?(.*?)( \{)?$/;

/**
 * Counts what TAP says, line by line. An assertion counts once; a subtest and a file do not
 * count for themselves, unless they have failed and nothing in them has: a crash, a timeout, or a
 * file that ended too early.
 */
export class TapCount {
  passed = 0;
  failed = 0;
  excused = 0;
  /** Names of the subtests that are open, by depth; that of depth 0 is a file. */
  private readonly names: string[] = [];
  /** Points seen, and failures counted, below each depth since the last point at that depth. */
  private readonly below: { points: number; failed: number }[] = [];
  /** Subtests in braces, whose own line comes before what is in them. */
  private readonly braces: Point[] = [];
  /** Indentation of the YAML block that is open or may begin now. */
  private yaml: { indent: string; open: boolean; shown: boolean } | undefined;
  /** The file that is being read. */
  private file = emptyFile();

  /** Takes one line, and returns the lines that a reader should see. */
  line(text: string): string[] {
    const { yaml } = this;
    if (yaml?.open) return this.inYaml(yaml, text);
    if (yaml && text === `${yaml.indent}---`) {
      yaml.open = true;
      return [];
    }
    this.yaml = undefined;
    const subtest = /^( *)# Subtest: (.*)$/.exec(text);
    if (subtest) {
      this.names.length = subtest[1]!.length / 4;
      this.names.push(subtest[2]!);
      return [];
    }
    const comment = /^ +# (?!time=|test count)(.*)$/.exec(text);
    if (comment && this.file.comments.length < COMMENTS) this.file.comments.push(comment[1]!);
    if (/^ *Bail out!/.test(text)) return this.fail(text.trim());
    const last = this.braces.at(-1);
    if (last && text === `${' '.repeat(last.depth * 4)}}`) {
      this.braces.pop();
      return this.point(last);
    }
    const match = POINT.exec(text);
    if (!match || match[1]!.length % 4 !== 0) return [];
    return this.pointLine(match);
  }

  /** What remains to be said once there is nothing more. */
  end(): string[] {
    const lines = this.passed + this.failed === 0 ? this.fail('no assertion was made') : [];
    if (this.excused > 0) lines.push(`${this.excused} skipped`);
    return [...lines, `${this.passed} passed, ${this.failed} failed`];
  }

  private inYaml(yaml: { indent: string; shown: boolean }, text: string): string[] {
    if (text === `${yaml.indent}...`) {
      this.yaml = undefined;
      return [];
    }
    return yaml.shown ? [`    ${text.slice(yaml.indent.length)}`] : [];
  }

  private pointLine(match: RegExpExecArray): string[] {
    const [, indent = '', not, rest = '', brace] = match;
    const point = {
      depth: indent.length / 4,
      ok: not === undefined,
      excused: /# *(skip|todo)/i.test(rest),
      name: rest.replace(/ # time=.*$/, ''),
      seconds: Number(/ # time=([\d.]+)ms$/.exec(rest)?.[1] ?? 0) / 1_000,
    };
    if (brace) {
      this.braces.push(point);
      this.names.length = point.depth;
      this.names.push(point.name);
      return [];
    }
    const failed = this.failed;
    const lines = this.point(point);
    this.yaml = { indent: `${indent}  `, open: false, shown: this.failed > failed };
    return lines;
  }

  private point(point: Point): string[] {
    const { depth } = point;
    const below = this.below[depth] ?? { points: 0, failed: 0 };
    this.below[depth] = { points: 0, failed: 0 };
    for (let above = depth - 1; above >= 0; above--) {
      this.below[above] ??= { points: 0, failed: 0 };
      this.below[above]!.points++;
    }
    const lines = this.leaf(point, below);
    this.names.length = Math.min(this.names.length, depth);
    return depth > 0 ? lines : [...this.fileLines(point), ...lines];
  }

  private fileLines({ ok, excused, name, seconds }: Point): string[] {
    const { passed, failed, excused: skipped, comments } = this.file;
    this.file = emptyFile();
    const good = ok && failed === 0;
    const verdict = excused ? 'skip' : good ? 'ok  ' : 'FAIL';
    const numbers = [
      `${passed} passed`,
      ...(failed > 0 ? [`${failed} failed`] : []),
      ...(skipped > 0 ? [`${skipped} skipped`] : []),
      `${seconds.toFixed(1)} s`,
    ];
    const line = `${verdict} ${name} (${numbers.join(', ')})`;
    return good ? [line] : [line, ...comments.map((comment) => `    # ${comment}`)];
  }

  private leaf(point: Point, below: { points: number; failed: number }): string[] {
    if (point.excused) {
      this.excused++;
      this.file.excused++;
      return [];
    }
    if (!point.ok) {
      if (below.failed > 0) return [];
      return this.fail([...this.names.slice(0, point.depth), point.name].join(' > '), point.depth);
    }
    if (below.points > 0) return [];
    this.passed++;
    this.file.passed++;
    return [];
  }

  private fail(what: string, depth = 0): string[] {
    this.failed++;
    this.file.failed++;
    for (let above = depth - 1; above >= 0; above--) this.below[above]!.failed++;
    return [`not ok: ${what}`];
  }
}

/**
 * What `tap` is told to report with: a line for each file, whatever failed in full, and the
 * numbers at the end. They are also written to the file that TEST_TOTALS names, if any.
 */
export default class Reporter extends Transform {
  private readonly count = new TapCount();
  private rest = '';

  override _transform(chunk: unknown, _: BufferEncoding, done: TransformCallback): void {
    const lines = (this.rest + String(chunk)).split('\n');
    this.rest = lines.pop() ?? '';
    for (const line of lines) this.print(this.count.line(line));
    done();
  }

  override _flush(done: TransformCallback): void {
    this.print(this.count.line(this.rest));
    this.print(this.count.end());
    const { TEST_TOTALS } = process.env;
    if (TEST_TOTALS) writeFileSync(TEST_TOTALS, `${this.count.passed} ${this.count.failed}\n`);
    done();
  }

  private print(lines: string[]): void {
    for (const line of lines) this.push(`${line}\n`);
  }
}
