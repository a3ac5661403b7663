/**
 * Random conversations through the relay's pure code: what goes in comes out, byte for byte, however
 * it is split, and the ledger agrees with a small model of the server that knows nothing of it. Then
 * the same with bytes that were damaged: no throw, nothing added, memory within the limits.
 * `SEED=n` begins with that seed, `ROUNDS=n` says how many; a failure says which seed shows it in the
 * first round.
 *
 * What was broken on purpose; each but the one marked made both tests fail within a hundred rounds:
 * | broken                                                     | seen as                       |
 * | ---------------------------------------------------------- | ----------------------------- |
 * | frames: a byte is skipped behind a header that was split   | a reply that does not match   |
 * | frames: what is gathered is not copied                     | bytes have changed            |
 * | ledger: an error drops nothing to the Sync                 | a reply that does not match   |
 * | ledger: COPY does not consume the Syncs before its end     | a reply that does not match   |
 * | ledger: a failed COPY leaves none of its Syncs to answer   | a reply that does not match   |
 * | ledger: `isUnsure` is false for ever                       | a reply that does not match   |
 * | lookup: CopyProbe finds out always the same                | what the server was told      |
 * | ring: what cannot be in a COPY does not end it             | a reply that does not match   |
 * | frames: the whole of a held message is gathered            | more held than the limit      |
 * | messages: readParse reads a count that is not there        | a throw (damaged bytes only)  |
 * | backend: `steady` is true for every type                   | pending at the end            |
 * | frontend: `steady` is true for every type                  | a reply that does not match   |
 */
import t from 'tap';
import { Metrics } from '../../metrics/registry.js';
import { Backend } from '../../proxy/backend.js';
import { Dialogue } from '../../proxy/dialogue.js';
import { Force } from '../../proxy/force.js';
import type { FrameReader, RunResult } from '../../proxy/frames.js';
import { Frontend } from '../../proxy/frontend.js';
import { STARTUP } from '../../proxy/kinds.js';
import { DEFAULT_LIMITS } from '../../proxy/limits.js';
import { Outbox } from '../../proxy/outbox.js';
import { Sightings } from '../../proxy/sightings.js';
import { pick, seeded } from './random.js';
import { junk, m, PROBE, type Random, Server, upTo } from './server-model.js';
import { B, C, copyData, copyDone, copyFail, D, E, H, P, Q, S, X } from './wire.js';

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const LAWFUL = Number(process.env.ROUNDS ?? (process.env.LONG ? 400_000 : 1000));
const DAMAGED = Number(process.env.ROUNDS ?? (process.env.LONG ? 400_000 : 1500));

t.setTimeout(process.env.LONG ? 3_600_000 : 60_000);

/** Small ones, so that messages are longer than what is gathered of them. */
const LIMITS = { ...DEFAULT_LIMITS, parseBytes: 600, bindPrefixBytes: 100, replayBytes: 300 };
const METRICS = new Metrics();
/** One for all, as the sessions of a process have it. */
const OUT = new Outbox();
/** So is the memory that chunks are read into. */
const MEMORY = Buffer.alloc(8192);

type Side = 'client' | 'server';

/** Nothing that the proxy waits for, or prepares again: that adds messages of its own. */
const TEXTS = ['SELECT 1', 'BEGIN', 'COPY t TO STDOUT', 'DELETE FROM t', ''];
const NAMES = ['', '', 's1', 's2', 'a longer name'];

/** What a lawful client sends at once; to COPY it sends no more than the protocol has there. */
function unit(random: Random): Buffer[] {
  const name = pick(random, NAMES);
  const text = `${pick(random, TEXTS)} /*${junk(random).toString('hex')}*/`;
  const kind = pick(random, ['S', 'D']);
  switch (pick(random, [...'PBBDEEECHSSSQQFxyd'])) {
    case 'P':
      return [P(name, text, random() < 0.3 ? [23, 25] : [])];
    case 'B':
      return [B(pick(random, NAMES), name, random() < 0.5 ? [] : [junk(random), null])];
    case 'D':
      return [D(kind as 'S', name)];
    case 'E':
      return [E(name, upTo(random, 2))];
    case 'C':
      return [C(kind as 'S', name)];
    case 'H':
      return [H];
    case 'S':
      return [S];
    case 'Q':
      return [Q(text)];
    case 'F':
      return [m('F', junk(random))];
    case 'x':
      // Without its end the next message is the end of the session, if the COPY has not failed.
      return [E('copy'), ...(random() < 0.02 ? [S, S, Q(text)] : copy(random))];
    case 'y': {
      const count = 1 + upTo(random, 2);
      return [
        Q('COPY IN;'.repeat(count)),
        ...Array.from({ length: count }, () => copy(random)).flat(),
      ];
    }
    default:
      return [pick(random, [copyData(junk(random)), copyDone, copyFail('late'), m('p', 'late')])];
  }
}

/** With Syncs in it, which COPY consumes, or fails first and leaves to be answered. */
function copy(random: Random): Buffer[] {
  const often = pick(random, [0.2, 0.6]);
  const data = Array.from({ length: upTo(random, 4) }, () =>
    random() < often ? pick(random, [S, S, H]) : copyData(junk(random)),
  );
  const sync = random() < 0.5;
  return [...data, random() < 0.8 ? copyDone : copyFail('no'), ...(sync ? [S] : [])];
}

/** A session without sockets. Each chunk is in the same memory, which is overwritten afterwards. */
class Relay {
  readonly d: Dialogue;
  private readonly readers: Record<Side, FrameReader>;
  private readonly sinks: Record<Side, Frontend | Backend>;

  constructor() {
    const control = {
      force: Force.none,
      fenced: false,
      started: null,
      schema: 0,
      seen: new Sightings(),
    };
    this.d = new Dialogue(LIMITS, false, control);
    const client = new Frontend(this.d, control, LIMITS, METRICS, OUT);
    const server = new Backend(this.d, METRICS, client.reader, OUT);
    this.sinks = { client, server };
    this.readers = { client: client.reader, server: server.reader };
    this.d.ledger.push(STARTUP);
  }

  pass(side: Side, chunk: Buffer): { result: RunResult; out: Buffer } {
    const reader = this.readers[side];
    const n = chunk.copy(MEMORY);
    reader.feed(MEMORY.subarray(0, n));
    const result = reader.run();
    MEMORY.fill('?', 0, n);
    this.checkMemory(side, result, n);
    return { result, out: reader.out.take() };
  }

  /** What the server gets when the client's message has waited for long enough, as in `Session`. */
  resume(): Buffer {
    const { waiting, ledger, lookup } = this.d;
    const settled = waiting === 'settle' && (ledger.pending === 0 || ledger.copyOpen);
    if (!settled && !(waiting === 'lookup' && lookup?.done)) return Buffer.alloc(0);
    const { reader } = this.sinks.client;
    const result = reader.run();
    if (result !== 'more' && result !== 'wait') throw new Error(result);
    this.checkMemory('client', result, MEMORY.length);
    return reader.out.take();
  }

  private checkMemory(side: Side, result: RunResult, fed: number): void {
    const reader = this.readers[side] as unknown as Record<'gathering', Buffer> &
      Record<'message' | 'chunk', Buffer | null> &
      Record<'type', number>;
    const most = this.sinks[side].holdBytes(reader.type);
    // What is gathered takes the room that it has, filled or not.
    const held = reader.gathering.length + (reader.message?.length ?? 0);
    if (held > Math.max(most, 6)) throw new Error(`${held} bytes are held, of ${most}`);
    const kept = result === 'more' ? 0 : fed;
    if (reader.chunk!.length > kept) throw new Error('more than the chunk is kept');
  }
}

interface Step {
  side: Side;
  chunk: Buffer;
}

/** The messages that the server may have got from what the client said: what it did get, or not. */
function heardWrong(said: Buffer[], heard: Server['heard']): string | null {
  let at = 0;
  for (const message of heard) {
    if (message === 'skips') {
      while (at < said.length && said[at]![0] !== S[0]) at++;
    } else if (message !== 'reads') {
      if (said[at]?.equals(message)) at++;
      else if (!message.equals(H)) return `${message.toString('latin1')}, message ${at}`;
    }
  }
  return at === said.length ? null : `nothing, message ${at} of ${said.length}`;
}

const letter = (message: Buffer) => String.fromCharCode(message[0]!);

let probes = 0;

/** One conversation, and in what pieces it went by; throws when it is not what it has to be. */
function converse(random: Random): Step[] {
  const relay = new Relay();
  const server = new Server(random, pick(random, [0, 0.02, 0.2]));
  const steps: Step[] = [];
  const waiting = { client: Buffer.alloc(0) as Buffer, server: Buffer.alloc(0) as Buffer };
  const longest = pick(random, [3, 40, 8000]);
  const said: Buffer[] = [];
  const came: Buffer[] = [];
  const move = (side: Side) => {
    if (side === 'server')
      waiting.server = Buffer.concat([waiting.server, ...server.out.splice(0)]);
    const chunk = waiting[side].subarray(0, 1 + upTo(random, longest));
    if (chunk.length === 0 || (side === 'client' && relay.d.waiting)) return false;
    waiting[side] = waiting[side].subarray(chunk.length);
    steps.push({ side, chunk });
    const { result, out } = relay.pass(side, chunk);
    if (result !== 'more' && !(result === 'wait' && side === 'client'))
      throw new Error(`the ${side}'s bytes: ${result}, ${relay.d.waiting}`);
    if (side === 'client') server.read(out);
    else {
      came.push(out);
      server.read(relay.resume());
    }
    return true;
  };
  for (let units = upTo(random, 30); units >= 0; ) {
    const next = random();
    if (next < 0.25) {
      const bytes = units-- > 0 ? unit(random) : [S, X];
      said.push(...bytes);
      waiting.client = Buffer.concat([waiting.client, ...bytes]);
    } else if (next < 0.5) move('client');
    else if (next < 0.75) server.step();
    else move('server');
  }
  while (move('client') || server.step() || move('server'));
  probes += server.probes;
  if (!Buffer.concat(server.shown).equals(Buffer.concat(came))) {
    const told = server.heard.map((one) => (typeof one === 'string' ? `(${one})` : letter(one)));
    const shown = server.shown.map(letter).join('');
    throw new Error(`the answers have changed: to ${told.join('')} they were ${shown}`);
  }
  if (server.closed) return steps;
  const wrong = heardWrong(said, server.heard);
  if (wrong) throw new Error(`the server was told ${wrong}`);
  const { pending, batchesInFlight, skipping, openBatch } = relay.d.ledger;
  const end = { pending, batchesInFlight, skipping, openBatch };
  if (pending || batchesInFlight || skipping || openBatch) throw new Error(JSON.stringify(end));
  return steps;
}

function damage(random: Random, chunk: Buffer): Buffer {
  const at = upTo(random, chunk.length - 1);
  const bytes = Buffer.from(chunk);
  switch (upTo(random, 3)) {
    case 0:
      bytes[at]! ^= 1 << upTo(random, 7);
      return bytes;
    case 1:
      return bytes.subarray(0, at);
    case 2:
      if (bytes.length >= at + 5) {
        bytes.writeInt32BE(pick(random, [-1, 0, 3, 4, 5, 700, 1 << 20, 0x3ffffffe]), at + 1);
      }
      return bytes;
    default:
      return Buffer.concat([bytes.subarray(0, at), junk(random), bytes.subarray(at)]).subarray(
        0,
        8192,
      );
  }
}

/** The same pieces, some of them damaged, until a side is stopped. */
function lie(random: Random): void {
  const relay = new Relay();
  const often = pick(random, [0.01, 0.1, 0.5]);
  const total = { client: 0, server: 0 };
  for (const { side, chunk } of converse(random)) {
    const bytes = random() < often ? damage(random, chunk) : chunk;
    const { result, out } = relay.pass(side, bytes);
    total[side] += bytes.length - out.length;
    // A message that waits may have had something put before it.
    const added = result === 'wait' ? PROBE.length : 0;
    if (total[side] < -added) throw new Error('there is more than was sent');
    if (!['more', 'wait', 'fail', 'bad'].includes(result)) throw new Error(result);
    if (result !== 'more') return;
  }
}

function rounds(count: number, round: (random: Random) => void): string | null {
  for (let i = 0; i < count; i++) {
    try {
      round(seeded(SEED + i));
    } catch (error) {
      return `SEED=${SEED + i} (round ${i}): ${(error as Error).stack}`;
    }
  }
  return null;
}

t.comment(`SEED=${SEED}, ${LAWFUL} conversations, ${DAMAGED} damaged ones`);

t.test('a lawful conversation goes by as it is, and ends with nothing pending', async (t) => {
  t.equal(rounds(LAWFUL, converse), null);
  t.ok(
    probes > 0 || LAWFUL < 1000,
    `${probes} times it was in doubt whether a COPY had read a Sync`,
  );
});

t.test('damaged bytes stop a session or pass, and cost no more than the limits', async (t) => {
  t.equal(rounds(DAMAGED, lie), null);
});
