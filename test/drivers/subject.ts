import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Phase } from './phases.js';

/** A driver or a tool that is taken through the phases. */
export interface Subject {
  readonly name: string;
  readonly version: string;
  /** Does what an application does, checks every answer. @returns the features it has used. */
  exercise(phase: Phase): Promise<string[]>;
  end(): Promise<void>;
}

/** How long a program may take for one phase, milliseconds. */
const ANSWER_MS = 60_000;

/**
 * A program in the driver's own language that keeps its connection through all phases. It prints
 * `ready VERSION`; then it reads a line `phase NAME COLUMN STAR wide|narrow` for each phase and
 * answers `ok FEATURE,...` or `error: ...`. It ends when its input does.
 */
export class Program implements Subject {
  private readonly lines: string[] = [];
  private wake: (() => void) | undefined;
  private ended = false;
  private stderr = '';
  version = '';

  private constructor(
    readonly name: string,
    private readonly child: ChildProcess,
  ) {
    createInterface({ input: child.stdout! }).on('line', (line) => {
      this.lines.push(line);
      this.wake?.();
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-2_000);
    });
    const over = () => {
      this.ended = true;
      this.wake?.();
    };
    child.once('close', over);
    child.once('error', (error) => {
      this.stderr += error.message;
      over();
    });
    // Its end is noticed by what it no longer prints.
    child.stdin!.on('error', over);
  }

  /** @param env what the program needs beside `DATABASE_URL`. */
  static async start(
    name: string,
    command: readonly string[],
    env: Record<string, string>,
  ): Promise<Program> {
    const child = spawn(command[0]!, command.slice(1), { env: { ...process.env, ...env } });
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('close', () => process.removeListener('exit', kill));
    const program = new Program(name, child);
    try {
      const line = await program.next();
      if (!line.startsWith('ready ')) throw new Error(`said ${line}`);
      program.version = line.slice('ready '.length);
      return program;
    } catch (error) {
      kill();
      throw error;
    }
  }

  async exercise({ name, column, star, wide }: Phase): Promise<string[]> {
    this.child.stdin!.write(`phase ${name} ${column} ${star.join()} ${wide ? 'wide' : 'narrow'}\n`);
    const line = await this.next();
    if (!line.startsWith('ok ')) throw new Error(line.replace(/^error: /, ''));
    return line.slice('ok '.length).split(',');
  }

  async end(): Promise<void> {
    if (this.ended) return;
    const closed = new Promise((resolve) => this.child.once('close', resolve));
    this.child.stdin!.end();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 10_000);
    await closed;
    clearTimeout(timer);
  }

  private async next(): Promise<string> {
    const deadline = Date.now() + ANSWER_MS;
    for (;;) {
      const line = this.lines.shift();
      if (line !== undefined) return line;
      if (this.ended) throw new Error(`the program ended: ${this.stderr.trim()}`);
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`no answer in ${ANSWER_MS / 1000} s: ${this.stderr.trim()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
