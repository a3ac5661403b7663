import t from 'tap';
import { isWider } from './hidden.js';

/** What the comparison takes for rows that show hidden columns beside the others. */

function answer(...rows: string[][]) {
  const messages = rows.map((fields) => {
    const parts = fields.flatMap((field) => {
      const length = Buffer.alloc(4);
      length.writeInt32BE(field.length);
      return [length, Buffer.from(field)];
    });
    const body = Buffer.concat([Buffer.from([0, fields.length]), ...parts]);
    return { type: 'D', body };
  });
  return { messages, catalog: new Map(), alias: new Map() } as never;
}

const isMore = (seen: string[][], wanted: string[][]) =>
  isWider(answer(...seen), answer(...wanted), () => false);

t.test('a hidden column is beside all others, in their order', async (t) => {
  t.ok(isMore([['(1,a,7)', '2']], [['(1,a)', '2']]));
  t.notOk(isMore([['(1,b,7)', '2']], [['(1,a)', '2']]));
  t.notOk(isMore([['(a,1,7)', '2']], [['(1,a)', '2']]));
});

t.test(
  'a row is not found in another one because of what is hidden there (seed 271927)',
  async (t) => {
    const seen = [['(3,q,"",1,q,1)'], ['(1,q,"",1,q,1)']];
    t.ok(isMore(seen, [['(1,q,"",1)'], ['(3,q,"",1)']]));
    t.notOk(isMore(seen, [['(1,q,"",1)'], ['(1,q,"",1)']]));
  },
);
