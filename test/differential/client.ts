import type pg from 'pg';
import { message, writeParse, writeQuery } from '../../proxy/messages.js';
import { type Message, RawClient } from '../proxy/harness.js';
import { copyData, copyDone, D, E, S } from '../proxy/wire.js';
import type { Call, Step } from './talk.js';

const int16 = (n: number) => Buffer.from([(n >> 8) & 255, n & 255]);

/** A value behind its length. */
function sized(value: string | Buffer | null): Buffer {
  const length = Buffer.alloc(4);
  if (value === null) {
    length.writeInt32BE(-1);
    return length;
  }
  const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value);
  length.writeInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function bind(statement: string, values: (string | Buffer | null)[], binary: boolean): Buffer {
  const encoded = values.map(sized);
  const formats = values.map((value) => int16(Buffer.isBuffer(value) ? 1 : 0));
  const results = binary ? [int16(1), int16(1)] : [int16(0)];
  const count = int16(values.length);
  return message(0x42, `\0${statement}\0`, count, ...formats, count, ...encoded, ...results);
}

/** What of types differs between two databases: their oids. */
export class Types {
  private readonly oids = new Map<string, Promise<number>>();
  private readonly binaries = new Map<string, Promise<Buffer | null>>();

  constructor(private readonly control: pg.Client) {}

  oid(type: string): Promise<number> {
    let oid = this.oids.get(type);
    if (!oid) {
      oid = this.control
        .query('SELECT to_regtype($1)::oid::int8 AS oid', [type.replace(/\(.*\)/, '')])
        .then(({ rows }) => Number(rows[0].oid ?? 0));
      this.oids.set(type, oid);
    }
    return oid;
  }

  /** A value in binary format, as the server itself sends it; null: it is not one of the type. */
  binary(type: string, value: string): Promise<Buffer | null> {
    const key = `${type} ${value}`;
    let bytes = this.binaries.get(key);
    if (!bytes) {
      bytes = this.encode(type, value);
      this.binaries.set(key, bytes);
    }
    return bytes;
  }

  private async encode(type: string, value: string): Promise<Buffer | null> {
    const name = type.replace(/\(.*\)/, '');
    try {
      const { rows } = await this.control.query(
        'SELECT typsend::text AS send FROM pg_type WHERE oid = to_regtype($1)',
        [name],
      );
      const hex = await this.control.query(
        `SELECT encode(${rows[0].send}(($1::text)::${name}), 'hex') AS hex`,
        [value],
      );
      return Buffer.from(hex.rows[0].hex, 'hex');
    } catch (error) {
      if ((error as pg.DatabaseError).code === undefined) throw error;
      return null;
    }
  }
}

/** A text in place of one that was refused: it fails in the same place. */
const REFUSED = 'SELECT "refused"';

/** What is sent of a call in place of itself: its text, or its Execute alone, is one that fails. */
export type Stand = 'refused' | 'rejected';

/** A session that sends steps, to one of the two databases. */
export class Client {
  private readonly prepared = new Set<string>();

  private constructor(
    private readonly raw: RawClient,
    private readonly types: Types,
    private readonly isPlain: boolean,
  ) {}

  /** @param isPlain to the database without a migration, where a column has one name only. */
  static async open(
    port: number,
    database: string,
    types: Types,
    isPlain: boolean,
  ): Promise<Client> {
    const raw = await RawClient.login(port, { database, TimeZone: 'Asia/Tokyo' });
    return new Client(raw, types, isPlain);
  }

  private textOf(call: Call, stand: Stand | undefined): Buffer {
    if (stand) {
      const begins = stand === 'rejected' && /^BEGIN;/.test(call.text);
      return Buffer.from(`${begins ? 'BEGIN; ' : ''}${REFUSED}`);
    }
    const { text, alias, latin } = call;
    const own = alias && this.isPlain ? text.replaceAll(`"${alias.from}"`, `"${alias.to}"`) : text;
    return latin ? Buffer.from(own.replace(/[^\0-\xff]/gu, '?'), 'latin1') : Buffer.from(own);
  }

  close(): void {
    this.raw.send(Buffer.from([0x58, 0, 0, 0, 4]));
    this.raw.destroy();
  }

  /** A simple query of the harness's own. */
  async ask(text: string): Promise<Message[]> {
    this.raw.send(writeQuery(Buffer.from(text)));
    return this.raw.ready();
  }

  /** Puts the session back to what it was at its beginning. */
  async discard(): Promise<void> {
    this.prepared.clear();
    this.raw.send(writeQuery(Buffer.from('ROLLBACK')), writeQuery(Buffer.from('DISCARD ALL')));
    await this.raw.ready(2);
  }

  /** Prepares what another session has prepared before; false when the server does not take it. */
  async prepare(call: Call): Promise<boolean> {
    this.raw.send(writeParse(call.name, this.textOf(call, undefined), ''), S);
    const answer = await this.raw.ready();
    const taken = answer.every(({ type }) => type !== 'E');
    if (taken) this.prepared.add(call.name);
    return taken;
  }

  /** @param stands calls in place of which one is sent that fails. */
  async send(step: Step, stands: ReadonlyMap<Call, Stand> = new Map()): Promise<Message[]> {
    const parts: Buffer[] = [];
    const isBatch = step.some(({ mode }) => mode !== 'simple');
    for (const call of step) parts.push(...(await this.encode(call, stands.get(call))));
    if (isBatch) parts.push(S);
    this.raw.send(...parts);
    return this.raw.ready(isBatch ? 1 : step.length);
  }

  /** The data of a COPY. A value that is none of its type goes as its text, which is not one in binary. */
  private async copied(rows: NonNullable<Call['copy']>): Promise<Buffer> {
    if (typeof rows === 'string') return Buffer.from(rows);
    const parts: Buffer[] = [Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')];
    for (const row of rows) {
      parts.push(int16(row.length));
      for (const { value, type } of row) {
        parts.push(
          value === null ? sized(null) : sized((await this.types.binary(type, value)) ?? value),
        );
      }
    }
    return Buffer.concat([...parts, int16(-1)]);
  }

  private async encode(call: Call, stand: Stand | undefined): Promise<Buffer[]> {
    if (call.mode === 'simple') {
      const parts = [writeQuery(this.textOf(call, stand))];
      if (call.copy !== undefined && !stand) {
        parts.push(copyData(await this.copied(call.copy)), copyDone);
      }
      return parts;
    }
    const parts: Buffer[] = [];
    const isRefused = stand === 'refused';
    if (!this.prepared.has(call.name)) {
      if (call.name !== '') this.prepared.add(call.name);
      const oids: number[] = [];
      for (const { type } of call.declared ? call.params : [])
        oids.push(await this.types.oid(type));
      const types = Buffer.alloc(4 * oids.length);
      for (const [i, oid] of oids.entries()) types.writeUInt32BE(oid, 4 * i);
      parts.push(
        writeParse(
          call.name,
          this.textOf(call, isRefused ? stand : undefined),
          types.toString('latin1'),
        ),
      );
    } else if (isRefused) parts.push(writeParse('', REFUSED, ''));
    if (call.describe === 'statement') parts.push(D('S', call.name));
    const values: (string | Buffer | null)[] = [];
    for (const { value, type } of call.params) {
      const isBinary = call.binaryParams && value !== null;
      values.push((isBinary && (await this.types.binary(type, value))) || value);
    }
    parts.push(bind(call.name, values, call.binaryResults));
    if (call.describe === 'portal') parts.push(D('P'));
    parts.push(E(stand === 'rejected' ? 'rejected' : '', call.limit));
    if (call.limit > 0) parts.push(E('', 0));
    return parts;
  }
}
