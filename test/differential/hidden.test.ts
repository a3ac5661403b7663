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

t.test('a hidden column is beside all others', async (t) => {
  t.ok(isMore([['(1,a,7)', '2']], [['(1,a)', '2']]));
  t.notOk(isMore([['(1,b,7)', '2']], [['(1,a)', '2']]));
  t.notOk(isMore([['(1,a,7)', '2'], ['(1,a,7)']], [['(1,a)', '2']]), 'a row more');
});

t.test('a row that is in several others has one of its own (seed 271927)', async (t) => {
  const seen = [['(3,q,"",1,q,1)'], ['(1,q,"",1,q,1)']];
  t.ok(isMore(seen, [['(1,q,"",1)'], ['(3,q,"",1)']]));
  t.notOk(isMore(seen, [['(3,q,"",1)'], ['(3,q,"",1)']]));
});

t.test('after a cutover, a row in a column of a row (seed 789420)', async (t) => {
  const wanted = [['(9,x|1,1,2,"(9,x|1,1,2,r8)")']];
  const row = (id: number) => `(9,x,1,2,"(${id},x,1,2,r8,x|1,r8)",x|1,"(9,x,1,2,r8,x|1,r8)")`;
  t.ok(isMore([[row(9)]], wanted));
  t.notOk(isMore([['(9,x,1,2,"(8,x,1,2,r8,x|1,r8)",x|1)']], wanted));
});

t.test('an array is no object (seed 2779)', async (t) => {
  t.notOk(isMore([['{1,2}', '1']], [['{1,3}']]));
  t.ok(isMore([['{1,2}', '(1,a,7)']], [['{1,2}', '(1,a)']]));
  t.ok(isMore([['{"a": 1, "b": 2}']], [['{"a": 1}']]));
  t.notOk(isMore([['{"a": 1, "b": 2}']], [['{"c": 1}']]));
  t.ok(isMore([['[{"a":1,"b":2}, \n {"a":3,"b":4}]']], [['[{"a":1}, \n {"a":3}]']]));
  t.notOk(isMore([['[{"a":1,"b":2}, \n {"a":3,"b":4}]']], [['[{"a":1}, \n {"a":4}]']]));
  t.notOk(isMore([['[{"a":1,"b":2}, \n {"a":3,"b":4}]']], [['[{"a":1}]']]));
});
