/**
 * Encodings of a client in which a byte is a character. What they say of a name is what the server makes
 * of it: its own tables, byte by byte (a test compares; TextDecoder of Node 20 has not those of WIN1252).
 *
 * @see https://www.postgresql.org/docs/current/multibyte.html
 */
export interface Codec {
  /** null: a byte has no character there, and the server refuses the text. */
  toUtf8(bytes: Buffer): Buffer | null;
  /** null: a character has no byte there. */
  fromUtf8(bytes: Buffer): Buffer | null;
}

const range = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => String.fromCharCode(from + i)).join('');

/** The control characters of ISO 8859. */
const C1 = range(0x80, 0xa0);
const NONE = '\ufffd';

/** The characters of the bytes from 0x80 on. */
const UPPER: Readonly<Record<string, string>> = {
  LATIN1: range(0x80, 0x100),
  LATIN2:
    C1 +
    '\xa0Ą˘Ł¤ĽŚ§¨ŠŞŤŹ\xadŽŻ°ą˛ł´ľśˇ¸šşťź˝žżŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙',
  LATIN5:
    C1 +
    '\xa0¡¢£¤¥¦§¨©ª«¬\xad®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞßàáâãäåæçèéêëìíîïğñòóôõö÷øùúûüışÿ',
  LATIN9:
    C1 +
    '\xa0¡¢£€¥Š§š©ª«¬\xad®¯°±²³Žµ¶·ž¹º»ŒœŸ¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ',
  WIN1250:
    '€\ufffd‚\ufffd„…†‡\ufffd‰Š‹ŚŤŽŹ\ufffd‘’“”•–—\ufffd™š›śťžź\xa0ˇ˘Ł¤Ą¦§¨©Ş«¬\xad®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľżŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙',
  WIN1251:
    'ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\ufffd™љ›њќћџ\xa0ЎўЈ¤Ґ¦§Ё©Є«¬\xad®Ї°±Ііґµ¶·ё№є»јЅѕїАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя',
  WIN1252:
    '€\ufffd‚ƒ„…†‡ˆ‰Š‹Œ\ufffdŽ\ufffd\ufffd‘’“”•–—˜™š›œ\ufffdžŸ\xa0¡¢£¤¥¦§¨©ª«¬\xad®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ',
  WIN1254:
    '€\ufffd‚ƒ„…†‡ˆ‰Š‹Œ\ufffd\ufffd\ufffd\ufffd‘’“”•–—˜™š›œ\ufffd\ufffdŸ\xa0¡¢£¤¥¦§¨©ª«¬\xad®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞßàáâãäåæçèéêëìíîïğñòóôõö÷øùúûüışÿ',
  KOI8R:
    '─│┌┐└┘├┤┬┴┼▀▄█▌▐░▒▓⌠■∙√≈≤≥\xa0⌡°²·÷═║╒ё╓╔╕╖╗╘╙╚╛╜╝╞╟╠╡Ё╢╣╤╥╦╧╨╩╪╫╬©юабцдефгхийклмнопярстужвьызшэщчъЮАБЦДЕФГХИЙКЛМНОПЯРСТУЖВЬЫЗШЭЩЧЪ',
};

const codecs = new Map<string, Codec>();

/** @param encoding as the server reports `client_encoding`. @returns null for one that is not known here. */
export function codecOf(encoding: string): Codec | null {
  const upper = Object.hasOwn(UPPER, encoding) ? UPPER[encoding]! : null;
  if (upper === null) return null;
  const codec = codecs.get(encoding) ?? makeCodec(upper);
  codecs.set(encoding, codec);
  return codec;
}

function makeCodec(upper: string): Codec {
  const bytesOf = new Map([...upper].map((character, i) => [character, 0x80 + i]));
  bytesOf.delete(NONE);
  return {
    toUtf8(bytes) {
      const text = bytes
        .toString('latin1')
        .replace(/[\x80-\xff]/g, (byte) => upper[byte.charCodeAt(0) - 0x80]!);
      return text.includes(NONE) ? null : Buffer.from(text, 'utf8');
    },
    fromUtf8(bytes) {
      let isWhole = true;
      const text = bytes.toString('utf8').replace(/[^\0-\x7f]/gu, (character) => {
        const byte = bytesOf.get(character);
        isWhole &&= byte !== undefined;
        return String.fromCharCode(byte ?? 0);
      });
      return isWhole ? Buffer.from(text, 'latin1') : null;
    },
  };
}
