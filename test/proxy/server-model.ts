import { OWN_NAME } from '../../proxy/lookup.js';
import { message, writeClose } from '../../proxy/messages.js';
import { pick } from './random.js';

export type Random = () => number;

export const m = (type: string, body: Buffer | string = '') => message(type.charCodeAt(0), body);
export const upTo = (random: Random, n: number) => Math.floor(random() * (n + 1));

/** Bytes of any kind, mostly few. */
export function junk(random: Random): Buffer {
  const most = random() < 0.02 ? 5000 : pick(random, [0, 3, 20, 200]);
  const start = upTo(random, 255);
  return Buffer.from(Array.from({ length: upTo(random, most) }, (_, i) => start + i * 7));
}

/** With which the proxy finds out whether a failed COPY has read the Syncs before its CopyDone. */
export const PROBE = Buffer.concat([m('S'), writeClose('S', OWN_NAME), m('S')]);

/** The server's rules (postgres.c, copyfromparse.c) without its meaning: what fails is chance. */
export class Server {
  readonly out: Buffer[] = [];
  /** All that it has said, but for the answers to what the proxy has put in. */
  readonly shown: Buffer[] = [];
  /** What it has read. A probe is one entry, and says whether messages were being thrown away. */
  readonly heard: (Buffer | 'reads' | 'skips')[] = [];
  /** It has ended the session, and reads no more. */
  closed = false;
  probes = 0;
  private skipping = false;
  /** Messages of a probe that are still to be read. */
  private probing = 0;
  /** Something has been read since the last ReadyForQuery that may change the status. */
  private changed = true;
  private input: Buffer = Buffer.alloc(0);
  private copying: 'E' | 'Q' | null = null;
  private copies = 0;
  private status = 'I';

  constructor(
    private readonly random: Random,
    private readonly errors: number,
  ) {
    this.say('R', Buffer.alloc(4));
    this.say('S', 'server_version\x0018\0');
    this.say('K', Buffer.alloc(8, 1));
    this.say('Z', 'I');
  }

  read(bytes: Buffer): void {
    this.input = Buffer.concat([this.input, bytes]);
  }

  /** Takes one message; false: there is none. */
  step(): boolean {
    const { input, random } = this;
    const length = input.length < 5 ? Infinity : input.readInt32BE(1) + 1;
    if (length > input.length || this.closed) return false;
    this.hear(length);
    this.input = input.subarray(length);
    const type = String.fromCharCode(input[0]!);
    if ('PBDECQF'.includes(type) && this.probing === 0 && !this.skipping) {
      this.changed = true;
      if (random() < 0.05) this.say(pick(random, [...'NA']), junk(random));
      if (random() < 0.02) this.say('S', 'TimeZone\0UTC\0');
    }
    this.take(type, input.toString('latin1', 5, length));
    if (this.probing > 0) this.probing--;
    return true;
  }

  private hear(length: number): void {
    const { input } = this;
    if (input.subarray(0, PROBE.length).equals(PROBE)) {
      this.probing = 3;
      this.probes++;
      this.heard.push(this.skipping ? 'skips' : 'reads');
    } else if (this.probing === 0) this.heard.push(input.subarray(0, length));
  }

  private say(type: string, body: Buffer | string = ''): void {
    const bytes = m(type, body);
    this.out.push(bytes);
    if (this.probing === 0) this.shown.push(bytes);
  }

  private get fails(): boolean {
    return this.probing === 0 && this.random() < this.errors;
  }

  private take(type: string, body: string): void {
    if (type === 'S' && !this.copying) {
      this.skipping = false;
      this.ready();
    } else if (this.skipping) return;
    else if (this.copying) this.copied(type);
    else if ('PBCDE'.includes(type) && this.fails) this.error('E');
    else if (type === 'P') this.say('1');
    else if (type === 'B') this.say('2');
    else if (type === 'C') this.say('3');
    else if (type === 'D') this.describe(body.startsWith('S'));
    else if (type === 'E' && body.startsWith('copy\0')) this.copyIn('E');
    else if (type === 'E') this.execute();
    else if (type === 'F') {
      if (this.fails) this.say('E', '\0');
      else this.say('V', junk(this.random));
      this.ready();
    } else if (type === 'Q') {
      this.copies = body.startsWith('COPY IN;') ? body.split(';').length - 1 : 0;
      this.query();
    }
  }

  private describe(statement: boolean): void {
    if (statement) this.say('t', Buffer.alloc(2));
    if (statement && this.fails) this.error('E');
    else if (this.random() < 0.5) this.say('n');
    else this.say('T', Buffer.alloc(2));
  }

  private rows(): void {
    const copyOut = this.random() < 0.1;
    if (copyOut) this.say('H', Buffer.alloc(3));
    for (let n = upTo(this.random, 5); n > 0; n--) this.say(copyOut ? 'd' : 'D', junk(this.random));
    if (copyOut) this.say('c');
  }

  private execute(): void {
    if (this.random() < 0.1) {
      this.say('I');
      return;
    }
    this.rows();
    if (this.fails) {
      this.error('E');
      return;
    }
    if (this.random() < 0.2) this.say('s');
    else this.complete();
  }

  private complete(): void {
    this.say('C', pick(this.random, ['SELECT 1\0', 'BEGIN\0', 'COMMIT\0', 'INSERT 0 1\0']));
  }

  private query(): void {
    if (this.fails) {
      this.error('Q');
      return;
    }
    if (this.copies > 0) {
      this.copyIn('Q');
      return;
    }
    if (this.random() < 0.1) this.say('I');
    else {
      for (let n = upTo(this.random, 2); n >= 0; n--) {
        if (this.random() < 0.5) this.say('T', Buffer.alloc(2));
        this.rows();
        if (this.fails) {
          this.error('Q');
          return;
        }
        this.complete();
      }
    }
    this.ready();
  }

  private copyIn(by: 'E' | 'Q'): void {
    this.say('G', Buffer.alloc(3));
    this.copying = by;
    if (this.fails) this.error(by);
  }

  private copied(type: string): void {
    const by = this.copying!;
    if (type === 'S' || type === 'H') return;
    if (!'dcf'.includes(type)) {
      this.say('E', 'SFATAL\0C08P01\0M\0\0');
      this.closed = true;
    } else if (type === 'f' || this.fails) this.error(by);
    else if (type === 'c') {
      this.copying = null;
      this.complete();
      if (by === 'Q' && --this.copies > 0) this.query();
      else if (by === 'Q') this.ready();
    }
  }

  private error(by: 'E' | 'Q'): void {
    this.say('E', 'SERROR\0C22012\0M\0\0');
    this.copying = null;
    this.changed = true;
    if (by === 'E') this.skipping = true;
    else this.ready();
  }

  private ready(): void {
    if (this.changed) this.status = pick(this.random, [...'IITE', this.status]);
    this.changed = false;
    this.say('Z', this.status);
  }
}
