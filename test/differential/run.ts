import type { Cluster } from '../../cli/demo/cluster.js';
import { RefusedError, UserError } from '../../migration/errors.js';
import { Random } from '../sql/random.js';
import { Client } from './client.js';
import { Pair, STAGES, type Stage } from './pair.js';
import { print, shrink } from './shrink.js';
import { type Step, Talk } from './talk.js';
import { type Counts, type Failure, Sessions, Trial } from './trial.js';
import { Words } from './words.js';
import { makeWorld, type World } from './world.js';

export interface Found {
  world: World;
  stage: Stage;
  seed: number;
  number: number;
  failure: Failure;
  steps: Step[];
  /** What the rewriter made of the texts that are left. */
  rewrites: string[];
}

export interface RunOptions {
  seed: number;
  /** Cases in each stage, and steps of each. */
  cases: number;
  steps: number;
  stages?: readonly Stage[];
  /** Only this case; -1: all. */
  only?: number;
  counts: Counts;
}

/** Runs one world through its stages. @returns what went wrong, and null for a world refused. */
export async function runWorld(
  cluster: Cluster,
  number: number,
  options: RunOptions,
): Promise<Found[] | null> {
  const { seed, cases, steps, counts, stages = STAGES } = options;
  const world = makeWorld(new Random(seed * 7919 + number), cluster.major);
  let pair: Pair;
  try {
    pair = await Pair.open(cluster, world, number);
  } catch (error) {
    if (!(error instanceof RefusedError || error instanceof UserError)) throw error;
    counts.add(`plan refused: ${error.message.slice(0, 100)}`);
    return null;
  }
  const found: Found[] = [];
  counts.add(`guard ${world.guard}`);
  const long = world.goesOn ? await Long.open(pair) : null;
  try {
    for (const stage of STAGES) {
      if (stage !== 'dual-writing') await pair.advance(stage);
      if (!stages.includes(stage)) continue;
      counts.add(stage);
      let sessions = await Sessions.open(pair);
      for (let i = 0; i < cases && found.length < 3; i++) {
        if (options.only !== undefined && options.only !== i) continue;
        const random = new Random(seed * 104729 + number * 1009 + STAGES.indexOf(stage) * 331 + i);
        const talk = new Talk(
          new Words(random, world, pair.view, cluster.major, stage !== 'dual-writing'),
        );
        const all = Array.from({ length: steps }, () => talk.next());
        const isFresh = i > 0 || stage === 'reverted';
        const failure = await Trial.run(pair, all, isFresh, counts, sessions);
        if (failure) {
          sessions.close();
          found.push(await smaller(pair, all, failure, { world, stage, seed, number }));
          sessions = await Sessions.open(pair);
        } else await sessions.discard();
      }
      sessions.close();
      if (options.only === undefined && found.length === 0) {
        const random = new Random(seed * 104729 + number * 1009 + STAGES.indexOf(stage) * 331 + 99);
        const wrong = await long?.next(random, { steps, counts });
        if (wrong) found.push({ world, stage, seed, number, rewrites: [], ...wrong });
      }
    }
  } finally {
    long?.close();
    await pair.close();
  }
  return found;
}

/** A session that goes on through all stages, with what it has prepared. */
class Long {
  private before: Pick<Talk, 'known' | 'count'> = { known: [], count: 0 };

  private constructor(
    private readonly pair: Pair,
    private readonly tandem: Client,
  ) {}

  static async open(pair: Pair): Promise<Long> {
    const { ports, names, types } = pair;
    return new Long(pair, await Client.open(ports.tandem, names.tandem, types.tandem, false));
  }

  async next(
    random: Random,
    { steps, counts }: Pick<RunOptions, 'steps' | 'counts'>,
  ): Promise<Pick<Found, 'failure' | 'steps'> | null> {
    const { pair } = this;
    const words = new Words(random, pair.world, pair.view, pair.world.major, false);
    const talk = new Talk(words, this.before);
    const ended = await Trial.goOn(pair, this.tandem, talk, steps, counts);
    this.before = { known: ended.known, count: talk.count };
    const { failure } = ended;
    return failure && { failure, steps: ended.steps.slice(0, failure.step + 1) };
  }

  close(): void {
    this.tandem.close();
  }
}

async function smaller(
  pair: Pair,
  steps: readonly Step[],
  failure: Failure,
  at: Pick<Found, 'world' | 'stage' | 'seed' | 'number'>,
): Promise<Found> {
  const upTo = steps.slice(0, failure.step + 1);
  let last = failure;
  const fails = async (candidate: readonly Step[]) => {
    const again = await Trial.run(pair, candidate, true);
    const isSame = again?.kind === failure.kind && again.mark === failure.mark;
    if (isSame) last = again;
    return isSame;
  };
  // The first case of a stage may need the rows that the stage began with.
  const small = (await fails(upTo)) ? await shrink(upTo, fails) : [...upTo];
  const rewrites = small.flat().flatMap(({ text }) => {
    const rewrite = pair.front.outcomes.get(text);
    return rewrite ? [`${rewrite.outcome} ${rewrite.reason ?? ''}\n${rewrite.text}`] : [];
  });
  return { ...at, failure: last, steps: small, rewrites };
}

/** A finding as a person reads it. */
export function report({ world, stage, seed, number, failure, steps, rewrites }: Found): string {
  return [
    `SEED=${seed} WORLD=${number}, PostgreSQL ${world.major}, ${stage}, guard ${world.guard}: ${failure.kind}`,
    failure.detail,
    world.migration,
    world.setup.slice(world.setup.indexOf('CREATE TABLE')),
    '---',
    print(steps),
    '--- sent as',
    rewrites.join('\n'),
  ].join('\n');
}
