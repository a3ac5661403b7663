import type { Random } from './random.js';
import type { Subject } from './subjects.js';

/** A statement as an application would send it. */
export interface Sent {
  text: string;
  /** Values of its parameters; null: it is sent as a simple query. */
  params: (string | null)[] | null;
  /** Whether its rows come in a certain order. */
  ordered: boolean;
}

/** Makes random statements on `orders`, right ones and wrong ones. */
export class Statements {
  private params: (string | null)[] = [];
  private bind = false;
  /** Whether other columns than the lead get wrong values: of two errors either may be told. */
  private spoilt = false;

  constructor(
    private readonly random: Random,
    private readonly subject: Subject,
    private readonly follow: string,
    private readonly major: number,
  ) {}

  next(): Sent {
    const { random } = this;
    this.params = [];
    this.bind = random.chance(0.5);
    this.spoilt = random.chance(0.1);
    const share = random.next();
    let text = '';
    if (share < 0.42) text = this.insert();
    else if (share < 0.7) text = this.update();
    else if (share < 0.75) text = this.deletes();
    else if (share < 0.86) text = this.select();
    else if (share < 0.93) text = this.major >= 15 ? this.merge() : this.update();
    else text = this.nested();
    const params = this.params.length > 0 ? this.params : null;
    if (params === null && random.chance(0.1)) text += `${this.gap()};`;
    return { text, params, ordered: false };
  }

  /** White space between two words, with a comment in it now and then. */
  private gap(): string {
    const { random } = this;
    if (random.chance(0.9)) return ' ';
    return random.pick(['\n', '\t', ' /* a, (b */ ', " -- it's, )\n", '/**//* /* two */ */']);
  }

  private join(...parts: (string | false)[]): string {
    let text = '';
    for (const part of parts) if (part) text += (text ? this.gap() : '') + part;
    return text;
  }

  private comma(items: readonly string[]): string {
    return items.map((item, i) => (i === 0 ? item : `,${this.gap()}${item}`)).join('');
  }

  private param(value: string | null): string {
    const { random, params } = this;
    if (params.length > 0 && random.chance(0.05)) return `$${1 + random.below(params.length)}`;
    params.push(value);
    return `$${params.length}`;
  }

  /** A value for a column, in the kinds that its type allows and some that it does not. */
  private value(column: string, inValues: boolean): string {
    const { random, subject } = this;
    if (inValues && random.chance(0.1)) return 'DEFAULT';
    if (column === subject.lead) {
      if (this.bind && random.chance(0.6)) return this.param(random.pick(subject.params));
      return this.once(random.pick(subject.values));
    }
    if (column === 'id') {
      const id = String(random.below(400));
      return this.bind && random.chance(0.5) ? this.param(id) : id;
    }
    const values = column === 'n' ? ['1', '-2', "'3'", '4 * 2', 'NULL'] : ["'a'", "'b,c'", 'NULL'];
    if (column === 'n' && this.spoilt && random.chance(0.3))
      return random.pick(["'bad'", '1/0', 'nothing']);
    if (column !== 'n')
      values.push("'ü' || 'x'", "now()::date - now()::date || ''", 'lower($$Q$$)');
    return this.bind && random.chance(0.5)
      ? this.param(String(random.below(9)))
      : random.pick(values);
  }

  /** The value, now and then from something that may be evaluated only once. */
  private once(value: string): string {
    const { random } = this;
    if (random.chance(0.75) || value.includes('--')) return value;
    return random.pick([
      `said(${value})`,
      `said(${value})`,
      `(SELECT ${value})`,
      `(SELECT said(${value}) FROM items WHERE n = 2)`,
      `(SELECT ${value} FROM items WHERE n > 5)`,
      `CASE WHEN said(true) THEN ${value} END`,
    ]);
  }

  private columns(): string[] {
    const all = ['id', 'v', 'note', 'n'].filter(
      (column) => !this.spoilt || column !== this.subject.lead,
    );
    if (this.random.chance(0.6)) return this.random.some(all.slice(1));
    return this.random.some(all);
  }

  private returning(name: string): string | false {
    const { random } = this;
    if (random.chance(0.4)) return false;
    if (this.major >= 18 && random.chance(0.2)) {
      return random.pick([
        'RETURNING old.*, new.*',
        'RETURNING WITH (OLD AS "O", NEW AS b) "O".id, b.*, *',
        `RETURNING old.v, new.v, ${name}.*`,
      ]);
    }
    const list = ['*', `${name}.*`, 'id, v', `n, ${name}.*, note`, `${name}.id AS x`, 'nothing'];
    return `RETURNING ${random.pick(random.chance(0.95) ? list.slice(0, 5) : list)}`;
  }

  private insert(): string {
    const { random } = this;
    const alias = random.chance(0.25) ? 'AS x' : '';
    const name = alias ? 'x' : 'orders';
    const head = this.join('INSERT INTO', random.pick(['orders', 'Orders', '"orders"']), alias);
    const tail = this.join(this.conflict(name), this.returning(name));
    if (random.chance(0.06)) return this.join(head, 'DEFAULT VALUES', tail);
    if (random.chance(0.12)) return this.join(head, this.insertSelect(), tail);
    let columns = this.columns();
    let list = `(${this.comma(columns)})`;
    if (random.chance(0.12) && !this.spoilt) {
      columns = ['id', 'v', 'note', 'n'].slice(0, 1 + random.below(4));
      if (random.chance(0.1)) columns.push('n', 'n');
      list = '';
    }
    const count = random.chance(0.55) ? 1 : 2 + random.below(2);
    const rows = Array.from({ length: count }, () => {
      const cells = columns.map((column) => this.value(column, true));
      if (this.spoilt && random.chance(0.1)) cells.pop();
      if (this.spoilt && random.chance(0.1)) cells.push('1');
      return `(${this.comma(cells.length > 0 ? cells : ['1'])})`;
    });
    return this.join(head, list, 'VALUES', this.comma(rows), tail);
  }

  private insertSelect(): string {
    const { random, subject } = this;
    const lead = subject.lead === 'id' ? 'id' : 'v';
    const value = random.pick([...subject.values, 'items.n', 'v']);
    const label = random.chance(0.3) ? ` AS ${random.pick(['l', '"L l"'])}` : '';
    return random.pick([
      `(n, ${lead}) SELECT n + 600, ${value}${label} FROM items ORDER BY items.n`,
      `(id, v, note) SELECT n + 700, NULL, label FROM items WHERE n IS DISTINCT FROM 2`,
      `(id, n) SELECT n + 800, n FROM items GROUP BY n`,
      `(id, n) WITH w AS (SELECT 900 AS n) SELECT n, n FROM w`,
      `(id, ${lead === 'id' ? 'n' : 'v'}) (SELECT 901, NULL)`,
      `SELECT n + 1000 FROM items`,
      ...this.queries(lead, value, label),
    ]);
  }

  /** Queries to which nothing can be added. */
  private queries(lead: string, value: string, label: string): string[] {
    const other = lead === 'id' ? 'n' : 'v';
    const bound = this.bind ? this.param(this.random.pick(this.subject.params)) : 'NULL';
    return [
      `(${lead}) SELECT DISTINCT ${value} FROM items`,
      `(${lead}, note) SELECT DISTINCT ON (n) ${value}${label}, 'dis' FROM items ORDER BY n LIMIT 2`,
      `(${lead}) SELECT ${value} UNION ALL SELECT ${value}`,
      `(note, ${lead}) (SELECT 'union', ${value} ORDER BY 1) UNION ALL SELECT label, NULL FROM items WHERE n = 3`,
      `(${lead}, n) VALUES (${value}, 1), (${value}, 2) ORDER BY 2 LIMIT 1`,
      `(${lead}, n) VALUES (${value}, 1) OFFSET 0`,
      `(n, ${other}) SELECT max(n), ${value} FROM items GROUP BY label ORDER BY max(n)`,
      `(n, note, ${other}) SELECT * FROM (SELECT 5 AS a, 'star'::text, ${value}) s`,
      `(n, ${lead}) SELECT i.*, ${bound} FROM generate_series(1, 2) i ORDER BY 1`,
      `(n, ${lead}, note) SELECT said(items.n), ${bound}, 'p' FROM items ORDER BY items.n`,
      `SELECT * FROM (VALUES (950), (951)) s (id)`,
      `(${lead}, note) SELECT ${value}, 'said' || said(n) FROM items WHERE n = 2`,
      `(n, note) TABLE few`,
      `(${lead}) SELECT ${bound} ORDER BY 1`,
      `(note, ${lead}) SELECT 'grouped', ${bound} GROUP BY 1`,
      `(n, ${lead}) WITH w AS (SELECT 970 AS n) SELECT said(n), ${value} FROM w FOR UPDATE`,
    ];
  }

  private merge(): string {
    const { random } = this;
    const alias = random.chance(0.4) ? 'o' : '';
    const name = alias || 'orders';
    const source = random.pick([
      'items',
      '(SELECT n, label, v FROM items) AS items',
      '(VALUES (1, $$x$$, NULL), (77, $$y$$, NULL)) AS items (n, label, v)',
    ]);
    const key = random.below(20);
    const update = () => {
      const own = this.own(name);
      const set = this.setList((column) =>
        column === 'v' && random.chance(0.3) ? random.pick(own) : this.value(column, true),
      );
      return `UPDATE SET ${set}`;
    };
    const insert = () => {
      if (random.chance(0.1)) return 'INSERT DEFAULT VALUES';
      const columns = this.columns();
      const list = random.chance(0.8) ? ` (${this.comma(columns)})` : '';
      const cells = list ? columns : ['id', 'v', 'note'].slice(0, 1 + random.below(3));
      return `INSERT${list} VALUES (${this.comma(cells.map((column) => this.value(column, true)))})`;
    };
    const matched = random.pick([update, update, () => 'DELETE', () => 'DO NOTHING'])();
    const also = random.chance(0.5) && 'AND CASE WHEN items.n > 0 THEN true ELSE false END';
    const bySource = this.major >= 17 && random.chance(0.3);
    return this.join(
      `MERGE INTO orders ${alias} USING ${source} ON ${name}.id = items.n + ${key} AND items.n = 1`,
      this.join('WHEN MATCHED', also, 'THEN', matched),
      random.chance(0.3) && `WHEN MATCHED THEN ${update()}`,
      random.chance(0.7) && this.join('WHEN NOT MATCHED AND items.n IN (2, 77) THEN', insert()),
      bySource && `WHEN NOT MATCHED BY SOURCE AND ${name}.id = 3 THEN ${update()}`,
      this.major >= 17 && this.returning(name),
    );
  }

  private conflict(name: string): string | false {
    const { random } = this;
    const share = random.next();
    if (share < 0.6) return false;
    if (share < 0.7) return 'ON CONFLICT DO NOTHING';
    const target = random.pick(['(id)', 'ON CONSTRAINT orders_pkey']);
    const own = [...this.own(name), 'excluded.v', 'excluded.v'];
    const set = this.setList((column) =>
      column === 'v' && random.chance(0.5) ? random.pick(own) : this.value(column, true),
    );
    const where = random.chance(0.3) && `WHERE ${name}.id > 3`;
    return this.join('ON CONFLICT', target, 'DO UPDATE SET', set, where);
  }

  private own(name: string): string[] {
    return [`${name}.v`, `coalesce(${name}.v, ${name}.v)`];
  }

  private setList(value: (column: string) => string): string {
    const { random } = this;
    const columns = this.columns().filter((column) => column !== 'id' || random.chance(0.3));
    if (columns.length === 0) columns.push('n');
    if (random.chance(0.2)) {
      const row = random.chance(0.3) ? 'ROW' : '';
      const source = random.chance(0.4)
        ? this.sources(columns.map(value))
        : `${row}(${this.comma(columns.map(value))})`;
      return `(${this.comma(columns)})${this.gap()}=${this.gap()}${source}`;
    }
    return this.comma(columns.map((column) => `${column}${this.gap()}= ${value(column)}`));
  }

  /** Subselects that give several columns. */
  private sources(values: string[]): string {
    const cells = values.map((value) => (value === 'DEFAULT' ? 'NULL' : value));
    const list = this.comma(cells);
    return this.random.pick([
      `(SELECT ${cells.map(() => 'NULL')})`,
      `(SELECT ${list})`,
      `(SELECT ${list} FROM items WHERE n = 1)`,
      `(SELECT ${list} FROM items WHERE n > 7)`,
      `(SELECT s.* FROM (SELECT ${list}) s)`,
      `((SELECT ${list} FROM items WHERE n < 3 LIMIT 1))`,
    ]);
  }

  private update(): string {
    const { random } = this;
    const alias = random.chance(0.3) ? random.pick(['o', 'AS o']) : '';
    const name = alias ? 'o' : 'orders';
    const from = random.chance(0.25);
    const own = this.own(name);
    if (from) own.push('items.v', "CASE WHEN items.v IS DISTINCT FROM 'x' THEN NULL END");
    const set = this.setList((column) =>
      column === 'v' && random.chance(0.25) ? random.pick(own) : this.value(column, true),
    );
    const id = String(random.below(200));
    const where = this.bind ? this.param(id) : id;
    const wheres = [`${name}.id = ${where}`, `${name}.id < ${where} AND ${name}.id % 7 = 3`];
    // Which row draws which number depends on where the rows lie.
    if (/nextval|DEFAULT|said/.test(set)) wheres.pop();
    return this.join(
      random.chance(0.1) && 'WITH w AS (SELECT * FROM orders WHERE id = 1)',
      'UPDATE',
      random.chance(0.2) && 'ONLY',
      'orders',
      alias,
      'SET',
      set,
      from && 'FROM items',
      `WHERE ${random.pick(wheres)}${from ? ' AND items.n = 1' : ''}`,
      this.returning(name),
    );
  }

  private deletes(): string {
    const { random } = this;
    const using = random.chance(0.4) ? 'USING items WHERE items.n = 2 AND' : 'WHERE';
    return this.join(
      `DELETE FROM orders ${using} id = ${random.below(300)}`,
      this.returning('orders'),
    );
  }

  private select(): string {
    const { random } = this;
    return random.pick([
      'SELECT * FROM orders ORDER BY id',
      'SELECT o.* FROM orders o ORDER BY 1',
      'SELECT *, o.n + 1 AS m FROM orders AS o WHERE n IS NOT NULL ORDER BY o.id',
      'SELECT * FROM orders o JOIN items i ON i.n = o.n ORDER BY o.id, i.n',
      'SELECT i.*, o.* FROM items i LEFT JOIN orders o ON o.n = i.n ORDER BY i.n, o.id',
      'TABLE orders ORDER BY id',
      'SELECT * FROM (SELECT * FROM orders) s ORDER BY id',
      'SELECT * FROM orders WHERE id < 3 UNION ALL SELECT * FROM orders WHERE id > 300 ORDER BY id',
      'WITH orders AS (SELECT * FROM orders) SELECT * FROM orders ORDER BY id',
      'SELECT * FROM orders WHERE id IN (SELECT id FROM orders) AND EXISTS (SELECT * FROM orders) ORDER BY id',
      'SELECT * FROM orders GROUP BY id ORDER BY id',
      'SELECT count(*), max(id) FROM orders',
      'SELECT a.*, b.* FROM orders a, orders b WHERE a.id = b.id ORDER BY a.id',
      'SELECT *, nothing FROM orders',
      'SELECT (SELECT s.note FROM (SELECT o.*) s) FROM orders o ORDER BY o.id',
      'SELECT * FROM orders p(a, b) ORDER BY a',
      'SELECT * FROM items, LATERAL (SELECT * FROM orders WHERE orders.n = items.n) l ORDER BY id, items.n',
      'SELECT DISTINCT ON (n) * FROM orders ORDER BY n, id',
      'SELECT "Orders".* FROM orders',
      'SELECT * FROM orders o JOIN items USING (n) ORDER BY o.id, items.label',
      'SELECT *, o.note AS again FROM items NATURAL LEFT JOIN orders AS o ORDER BY n, o.id',
      'SELECT * FROM orders FULL JOIN (SELECT * FROM orders WHERE id < 4) s USING (id, note) ORDER BY 1, 2, 3, 4, 5',
      'SELECT *, orders.ctid IS NULL AS c FROM orders JOIN items USING (n) ORDER BY id, label',
      'SELECT o::text, (o.*)::text AS t, o IS NULL, o = o, o < ROW (3, o.v, o.note, o.n) FROM orders o ORDER BY o.id',
      'SELECT count(*) FROM orders o, orders p WHERE o IS DISTINCT FROM p AND o.id < p.id',
    ]);
  }

  /** Writes within writes, and both sides of the pair in one statement. */
  private nested(): string {
    const { random, subject, follow } = this;
    const lead = subject.lead;
    const value = random.pick(subject.values);
    return random.pick([
      `WITH w AS (UPDATE orders SET ${lead === 'id' ? 'n' : 'v'} = ${value} WHERE id = 5 RETURNING *)
       SELECT * FROM w`,
      `WITH w AS (INSERT INTO orders (note, ${lead}) VALUES ('cte', ${value}) RETURNING *),
            x AS (DELETE FROM orders WHERE id = 6 RETURNING orders.*)
       SELECT w.*, x.n FROM w LEFT JOIN x ON true`,
      `WITH w AS (SELECT 1 AS one) INSERT INTO orders (n) SELECT one FROM w RETURNING n`,
      `INSERT INTO orders (n) VALUES ((SELECT n FROM items WHERE n = 1)) RETURNING *`,
      `UPDATE orders SET n = (SELECT count(*) FROM (SELECT * FROM orders) q) WHERE id = 7 RETURNING *`,
      `UPDATE orders SET ${lead} = ${lead} WHERE ${follow === '' ? 'false' : 'id = 8'}`,
    ]);
  }
}
