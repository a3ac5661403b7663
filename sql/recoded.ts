import type { Codec } from './encoding.js';
import type { Edit, Rewrite } from './outcome.js';

/**
 * What is made of a text in another encoding than UTF-8, in which the rules are: it is read in
 * UTF-8, and what is sent is in the client's encoding again.
 *
 * @param read makes it of the text in UTF-8.
 * @returns null when that cannot be said in the client's encoding, or has rows that follow in it (COPY).
 */
export function recoded(
  codec: Codec,
  text: Buffer,
  read: (utf8: Buffer) => Rewrite,
): Rewrite | null {
  const its = codec.toUtf8(text);
  if (!its) return null;
  // Not by a spread: what a template gives makes its fields when they are asked for.
  const made = read(its);
  const { outcome, touches, reason, refusal, edits, wants, found, shape } = made;
  if (made.copies) return null;
  // Also where nothing was changed: the client's memory may be used again.
  const sent = codec.fromUtf8(made.text);
  return (
    sent && {
      ...{ outcome, text: sent, touches, reason, refusal, edits: placed(edits, its, made.text) },
      ...(wants && { wants }),
      ...(found && { found }),
      ...(shape && { shape }),
    }
  );
}

/** Edits in bytes of UTF-8, in characters: in the client's encoding these are its bytes. */
function placed(edits: readonly Edit[], client: Buffer, server: Buffer): Edit[] {
  if (edits.length === 0) return [];
  const before = counterOf(client);
  const sent = counterOf(server);
  let shift = 0;
  return edits.map(({ start, end, length, copies }) => {
    const at = start + shift;
    shift += length - (end - start);
    return {
      start: before(start),
      end: before(end),
      length: sent(at + length) - sent(at),
      copies: copies.map((copy) => ({
        at: sent(at + copy.at) - sent(at),
        from: copy.from < 0 ? copy.from : before(copy.from),
        length: sent(at + copy.at + copy.length) - sent(at + copy.at),
      })),
    };
  });
}

/** How many characters begin before a byte. */
function counterOf(text: Buffer): (byte: number) => number {
  const counts = new Uint32Array(text.length + 1);
  for (let i = 0; i < text.length; i++) {
    counts[i + 1] = counts[i]! + ((text[i]! & 0xc0) === 0x80 ? 0 : 1);
  }
  return (byte) => counts[Math.min(byte, text.length)]!;
}
