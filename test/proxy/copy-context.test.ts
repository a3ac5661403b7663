import t from 'tap';
import { restoreFields } from '../../proxy/copy-context.js';
import { narrowed } from '../../proxy/copy-integer.js';
import type { CopyRows } from '../../sql/copy-rows.js';
import { added, layout } from './copy-layout.js';

t.test('an integer that does not fit the narrower type is NULL there', async (t) => {
  const of = (field: string, bytes: number, more: Partial<CopyRows> = {}) =>
    narrowed(Buffer.from(field), bytes, layout(more)).toString();
  t.equal(of('2147483647', 4), '2147483647');
  t.equal(of('2147483648', 4), '\\N');
  t.equal(of('-2147483648', 4), '-2147483648');
  t.equal(of('-2147483649', 4), '\\N');
  t.equal(of('32768', 2), '\\N');
  t.equal(of('  +0000032767 ', 2), '  +0000032767 ');
  t.equal(of('0x7fff_ffff', 4), '0x7fff_ffff');
  t.equal(of('0xffffffff', 4), '\\N');
  t.equal(of('\\x33000000000', 4), '\\N', 'escapes are read');
  t.equal(of('no number', 4), 'no number', 'the server refuses it in its own column');
  const csv = { format: 'csv', nullText: '' } as const;
  t.equal(of('"21474836""48"', 4, csv), '"21474836""48"', 'no number either');
  t.equal(of('"2147483648"', 4, csv), '');
  t.equal(of('9999999999', 4, { nullText: '9999999999' }), '9999999999', 'it was NULL before');
});

t.test('a context shows the line as the client sent it', async (t) => {
  const shown = (
    context: string,
    more: Partial<CopyRows> = {},
    said: [string, string] = ['', ''],
  ) => {
    const [code, text] = said;
    const fields = new Map([
      ['C', code],
      ['M', text],
      ['W', context],
    ]);
    restoreFields(fields, layout(more));
    return text === '' ? fields.get('W') : fields.get('M');
  };
  const line = (text: string) => `COPY orders, line 7: "${text}"`;
  t.equal(shown(line('a\tb\tc\tb')), line('a\tb\tc'));
  t.equal(shown(line('a\\\tb\tc\td\tb')), line('a\\\tb\tc\td'), 'an escaped delimiter is none');
  t.equal(shown(line('a\tb')), line('a\tb'), 'a row that was too short was not changed');
  t.equal(shown(line('a\tb\tc\td\tb')), line('a\tb\tc\td'), 'of one that is too long the last');
  const column = 'COPY orders, line 7, column id: "a\tb\tc\td"';
  t.equal(shown(column), column, 'a field is not a line');
  t.equal(shown('COPY orders, line 7'), 'COPY orders, line 7');
  const nested = `PL/pgSQL function f() line 3 at RAISE\n${line('a\tb\tc\tb')}`;
  t.equal(shown(nested), `PL/pgSQL function f() line 3 at RAISE\n${line('a\tb\tc')}`);
  const csv = { format: 'csv', delimiter: ',' } as const;
  t.equal(shown(line('a,"b,""\n",c,"b,""\n"'), csv), line('a,"b,""\n",c'));
  const long = 'x'.repeat(120);
  t.equal(shown(line(`a\t${long.slice(0, 98)}...`)), line(`a\t${long.slice(0, 98)}...`));
  const middle = 'x'.repeat(60);
  t.equal(shown(line(`a\t${middle}\tc\t${middle.slice(0, 35)}...`)), line(`a\t${middle}\tc`));
  const printed = { added: [added(1, { printed: { kind: 'integer', limit: null } })] } as const;
  const zeros = `+${'0'.repeat(90)}7`;
  t.equal(shown(line(`a\t${zeros}\tccc\t7...`), printed), line(`a\t${zeros}\tccc`));
  t.equal(
    shown('COPY orders, Zeile 7: \xc2\xbba\tb\tc\tb\xc2\xab'),
    'COPY orders, Zeile 7: \xc2\xbba\tb\tc\xc2\xab',
  );
  const counts = 'row field count is 6, expected 4';
  t.equal(shown('', { format: 'binary' }, ['22P04', counts]), 'row field count is 5, expected 3');
  const other = 'row field count is 6, expected 5';
  t.equal(shown('', { format: 'binary' }, ['22P04', other]), other);
});
