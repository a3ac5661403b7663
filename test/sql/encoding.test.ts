/**
 * What a byte is in the encodings of a client. What was broken to see this fail: TextDecoder's windows-1252 in place of
 * WIN1252, the control characters of ISO 8859 left out, one letter exchanged, edits left in bytes of UTF-8.
 */
import t from 'tap';
import { Cluster } from '../../cli/demo/cluster.js';
import { codecOf } from '../../sql/encoding.js';
import type { Rewrite } from '../../sql/outcome.js';
import { recoded } from '../../sql/recoded.js';

const ENCODINGS = 'LATIN1 LATIN2 LATIN5 LATIN9 WIN1250 WIN1251 WIN1252 WIN1254 KOI8R'.split(' ');

t.test('a byte is the character that the server takes it for', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const client = await cluster.client();
  await client.query(`CREATE FUNCTION told(bytes bytea, encoding name) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN RETURN convert_from(bytes, encoding); EXCEPTION WHEN untranslatable_character THEN
    RETURN NULL; END $$`);
  for (const encoding of ENCODINGS) {
    const codec = codecOf(encoding)!;
    const { rows } = await client.query(
      `SELECT told(set_byte('\\x00', 0, byte), $1) AS told FROM generate_series(1, 255) byte`,
      [encoding],
    );
    const bytes = rows.map((_, i) => Buffer.from([i + 1]));
    const ours = bytes.map((byte) => codec.toUtf8(byte)?.toString() ?? null);
    t.same(
      ours,
      rows.map(({ told }) => told),
      encoding,
    );
    const back = ours.map((text) => (text === null ? null : codec.fromUtf8(Buffer.from(text))));
    t.same(
      back,
      bytes.map((byte, i) => (ours[i] === null ? null : byte)),
      `${encoding} and back`,
    );
  }
  await client.end();
});

t.test('what has no byte, or no character, is not recoded', async (t) => {
  const latin = codecOf('LATIN1')!;
  for (const text of ['€', 'ł', '𐀀', 'a\u0301']) t.equal(latin.fromUtf8(Buffer.from(text)), null);
  t.equal(codecOf('WIN1252')!.toUtf8(Buffer.from([0x61, 0x81])), null);
  for (const name of ['UTF8', 'SJIS', 'EUC_JP', 'SQL_ASCII', '', 'toString']) {
    t.equal(codecOf(name), null, name);
  }
});

t.test('edits are in bytes of the client', async (t) => {
  const text = Buffer.from('é = é, ü', 'latin1');
  const made = (client: Buffer): Rewrite => {
    t.equal(client.toString(), 'é = é, ü');
    // The second letter becomes ß(é), and behind ü comes "ö".
    const edits = [
      { start: 5, end: 7, length: 6, copies: [{ at: 3, from: 5, length: 2 }] },
      { start: 11, end: 11, length: 4, copies: [{ at: 4, from: -1, length: 0 }] },
    ];
    const sent = Buffer.from('é = ß(é), ü"ö"');
    const rest = { touches: [1], reason: null, refusal: null };
    return { outcome: 'rewritten', text: sent, edits, original: client, ...rest };
  };
  const rewrite = recoded(codecOf('LATIN1')!, text, made)!;
  t.same(rewrite.text, Buffer.from('é = ß(é), ü"ö"', 'latin1'));
  t.same(rewrite.edits, [
    { start: 4, end: 5, length: 4, copies: [{ at: 2, from: 4, length: 1 }] },
    { start: 8, end: 8, length: 3, copies: [{ at: 3, from: -1, length: 0 }] },
  ]);
  t.equal(rewrite.original, undefined);
  const same = recoded(codecOf('LATIN1')!, text, (its) => ({
    ...made(its),
    text: its,
    edits: [],
  }))!;
  const before = Buffer.from(text);
  text.fill(0);
  t.same(same.text, before, 'in memory of its own');
  t.equal(
    recoded(codecOf('KOI8R')!, Buffer.from('x'), () => made(Buffer.from('é = é, ü'))),
    null,
  );
});
