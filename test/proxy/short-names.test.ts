import t from 'tap';
import { cString } from '../../proxy/messages.js';
import { ShortNames } from '../../proxy/short-names.js';
import { pick, seeded } from './random.js';

/*
 * Broken to see it fail:
 * | what                                             | what failed                     |
 * | ------------------------------------------------ | ------------------------------- |
 * | a slot's name is taken without comparing bytes   | both tests                      |
 * | only lengths are compared                        | both tests                      |
 * | the end is not looked at                         | reads what a C string is        |
 */

t.test('reads what a C string is, whatever was read before', (t) => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  t.comment(`SEED=${seed}`);
  const next = seeded(seed);
  const random = (below: number) => Math.floor(next() * below);
  const names = new ShortNames();
  const pieces = [
    '',
    'P0_1',
    'P0_2',
    'a',
    'aa',
    '\xff\x80',
    'x'.repeat(63),
    'y'.repeat(64),
    'z'.repeat(900),
  ];
  let bad = 0;
  for (let round = 0; round < 20_000; round++) {
    // Two strings of one hash now and then: the last letter makes up for the one before it.
    const piece = pick(next, pieces);
    const [a, b] = [97 + random(3), 97 + random(90)];
    const name = random(2) ? piece : `${piece}${String.fromCharCode(a, b)}`;
    const rest = random(4) ? '\0tail' : '';
    const bytes = Buffer.from(`${'#'.repeat(random(3))}${name}${rest}`, 'latin1');
    const at = bytes.length - name.length - rest.length;
    const end = at + random(bytes.length - at + 1);
    if (names.read(bytes, at, end) !== cString(bytes, at, end)) bad++;
    if (names.read(bytes, at, bytes.length) !== cString(bytes, at, bytes.length)) bad++;
  }
  t.equal(bad, 0);
  t.end();
});

t.test('two names in one slot are told apart', (t) => {
  const names = new ShortNames();
  // 31 * 'a' + '\x80' is 31 * 'b' + 'a'.
  const [one, other] = ['a\x80', 'ba'].map((name) => Buffer.from(`${name}\0`, 'latin1'));
  t.equal(names.read(one!, 0, 3), 'a\x80');
  t.equal(names.read(other!, 0, 3), 'ba');
  t.equal(names.read(one!, 0, 3), 'a\x80');
  t.end();
});
