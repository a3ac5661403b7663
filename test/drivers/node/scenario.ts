import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Phase } from '../phases.js';
import type { Subject } from '../subject.js';

const modules = resolve(import.meta.dirname, '..', '..', '..', '..', 'node_modules');

/** A value that a statement with a parameter cannot send in one piece. */
export const LARGE = 'x'.repeat(2 << 20);

/** @throws Error when they are not the same. */
export function check(actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return;
  const short = (value: unknown) => String(JSON.stringify(value)).slice(0, 200);
  throw new Error(`${short(actual)} is not ${short(expected)}`);
}

/** @returns the error with which something fails. @throws Error when it does not. */
export async function failure(promise: PromiseLike<unknown>): Promise<Record<string, unknown>> {
  try {
    await promise;
  } catch (error) {
    return error as Record<string, unknown>;
  }
  throw new Error('no error');
}

/** What a phase is to one driver: its tag is in every row that the driver makes in it. */
export interface Scene extends Phase {
  tag: string;
  /** The row that the first step has made. */
  id: number;
}

/** A driver's features and how each is used; one that fails does not keep the others from it. */
export type Steps = Record<string, (scene: Scene) => Promise<void>>;

/** A package of npm, in this process, with one connection. */
export class Package implements Subject {
  readonly version: string;

  /** @param recover ends a transaction that a failed step has left open. */
  constructor(
    readonly name: string,
    private readonly steps: Steps,
    private readonly recover: () => Promise<unknown>,
    readonly end: () => Promise<void>,
  ) {
    const manifest = readFileSync(join(modules, name.toLowerCase(), 'package.json'), 'utf8');
    this.version = JSON.parse(manifest).version;
  }

  async exercise(phase: Phase): Promise<string[]> {
    const scene: Scene = { ...phase, tag: `${this.name} ${phase.name}`, id: 0 };
    const done: string[] = [];
    const errors: string[] = [];
    for (const [feature, step] of Object.entries(this.steps)) {
      if (feature === 'wide' && !phase.wide) continue;
      try {
        await step(scene);
        done.push(feature);
      } catch (error) {
        errors.push(`${feature}: ${(error as Error).message}`);
        await this.recover();
      }
    }
    if (errors.length > 0) throw new Error(errors.join('; '));
    return done;
  }
}
