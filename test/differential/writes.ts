import type { Column } from './column.js';
import type { Words } from './words.js';

/** Random statements that write the table. */
export class Writes {
  constructor(private readonly w: Words) {}

  any(): string {
    const share = this.w.random.next();
    if (share < 0.46) return this.insert();
    if (share < 0.8) return this.update();
    if (share < 0.87) return this.deletes();
    return this.w.major >= 15 ? this.merge() : this.update();
  }

  insert(): string {
    const { w } = this;
    const { random } = w;
    const alias = random.chance(0.2) ? w.join('AS', 'x') : '';
    const name = alias ? 'x' : w.name(w.relation);
    const head = w.join(
      random.chance(0.07) && 'WITH q AS (SELECT 1 AS one, 2 AS two)',
      'INSERT INTO',
      w.table(),
      alias,
    );
    const conflict = this.conflict(name);
    w.clashes = conflict !== false;
    const tail = () => w.join(conflict, w.returning(name));
    if (random.chance(0.05)) return w.join(head, 'DEFAULT VALUES', tail());
    if (random.chance(0.18)) return w.join(head, this.insertSelect(), tail());
    let columns = w.some(w.world.identity !== 'none' || true);
    if (w.world.identity === 'none' && !columns.some(({ role }) => role === 'id')) {
      columns.push(w.column('id')!);
    }
    let list = `(${w.comma(columns.map((column) => this.target(column)))})`;
    if (random.chance(0.12) && !w.spoilt) {
      const visible = w.columns.filter(({ role }) => role !== 'derived');
      columns = visible.slice(0, 1 + random.below(visible.length));
      const isWhole = visible.length === w.columns.length;
      if (isWhole && random.chance(0.05)) columns = [...visible, visible[1]!];
      list = '';
    }
    const listed = columns.some(({ role }) => role === 'id');
    const isOver =
      listed && (w.world.identity === 'always' ? random.chance(0.9) : random.chance(0.05));
    const over = isOver && `OVERRIDING ${random.chance(0.8) ? 'SYSTEM' : 'USER'} VALUE`;
    const count = random.chance(0.6) ? 1 : 2 + random.below(2);
    const rows = Array.from({ length: count }, () => {
      const cells = columns.map((column) =>
        column.role === 'g' ? 'DEFAULT' : w.value(column, null, true),
      );
      if (w.spoilt && random.chance(0.1)) cells.pop();
      if (w.spoilt && random.chance(0.1)) cells.push('1');
      return `(${w.comma(cells.length > 0 ? cells : ['1'])})`;
    });
    return w.join(head, list, over, 'VALUES', w.comma(rows), tail());
  }

  private target(column: Column): string {
    return column.role === 'lead' ? this.w.lead : this.w.name(column.name);
  }

  private insertSelect(): string {
    const { w } = this;
    const { random } = w;
    const lead = w.column('lead')!;
    const id = String(w.clashes && random.chance(0.6) ? random.below(9) : 200 + random.below(200));
    const value = random.pick([
      w.value(lead, null, false),
      `x.${w.lead}`,
      w.value(lead, null, false),
    ]);
    const from = value.startsWith('x.')
      ? `${w.table()} AS x WHERE x.id < 4 ORDER BY x.id`
      : random.pick([
          'items ORDER BY n',
          'items WHERE n < 3',
          '(SELECT 1 AS n) s',
          'generate_series(1, 2) n',
        ]);
    const base = value.startsWith('x.') ? 'x.id' : 'n';
    const label = random.chance(0.3) ? ` AS ${random.pick(['l', '"L l"'])}` : '';
    const always = w.world.identity === 'always' ? 'OVERRIDING SYSTEM VALUE' : false;
    const list = `(id, ${w.lead}, note)`;
    return random.pick([
      () => w.join(list, always, `SELECT ${base} + ${id}, ${value}${label}, 's' FROM ${from}`),
      () =>
        w.join(`(n, ${w.lead}, id)`, always, `SELECT 1, ${value}, ${base} + ${id} FROM ${from}`),
      () =>
        w.join(list, always, `SELECT n + ${id}, NULL, label FROM items WHERE n IS DISTINCT FROM 2`),
      () => w.join('(id, n)', always, `SELECT n + ${id}, n FROM items GROUP BY n ORDER BY n`),
      () => w.join('(id, n)', always, `WITH w AS (SELECT ${id}::int AS n) SELECT n, n FROM w`),
      () => w.join(list, always, `(SELECT ${id}::int, NULL, 'p')`),
      // Other tables, of which the server is asked how many columns they have.
      () => w.join(false, always, 'SELECT * FROM staged WHERE id < 802'),
      () => w.join(false, always, 'TABLE staged'),
      () => w.join(false, always, 'SELECT s.* FROM public.staged AS s ORDER BY id LIMIT 1'),
      () => w.join(false, always, `SELECT ${id}, i.* FROM items i WHERE n = 1`),
      () => w.join(list, always, `VALUES (${id}, ${w.value(lead, null, false)}, 'v') LIMIT 1`),
      () =>
        w.join(
          list,
          always,
          `SELECT ${id}, ${w.lead}, note FROM ${w.table()} WHERE id = ${w.key()}`,
        ),
      () =>
        w.join(
          list,
          always,
          `SELECT ${id}, y.a, 'z' FROM (SELECT ${w.lead} AS a, id FROM ${w.table()}) y WHERE y.id = 2`,
        ),
      () =>
        w.join(list, always, `SELECT 1 + ${id}, NULL, 'u' UNION ALL SELECT 2 + ${id}, NULL, 'u'`),
      () =>
        w.join(
          list,
          always,
          `SELECT DISTINCT ${id}::int, x.${w.lead}, x.note FROM ${w.table()} x WHERE x.id = ${w.key()}`,
        ),
    ])();
  }

  private conflict(name: string): string | false {
    const { w } = this;
    const { random } = w;
    const share = random.next();
    if (share < 0.65) return false;
    if (share < 0.72) return 'ON CONFLICT DO NOTHING';
    const unique = w.column('u') && random.chance(0.3) ? '(u)' : `(${w.world.key})`;
    const target = random.pick([
      unique,
      unique,
      `(${w.world.key}) WHERE true`,
      '((id))',
      `ON CONSTRAINT ${this.key()}`,
    ]);
    const lead = w.column('lead')!;
    const own = [
      `${name}.${w.lead}`,
      `excluded.${w.lead}`,
      `coalesce(excluded.${w.lead}, ${name}.${w.lead})`,
    ];
    const set = this.setList(
      (column) =>
        column === lead && random.chance(0.5)
          ? random.pick(own)
          : w.value(column, `${name}.${w.lead}`, true),
      false,
    );
    const where = random.chance(0.3) && `WHERE ${name}.id > 3`;
    return w.join('ON CONFLICT', target, 'DO UPDATE SET', set, where);
  }

  private key(): string {
    return `"${this.w.relation}_pkey"`;
  }

  private setList(value: (column: Column) => string, withId: boolean): string {
    const { w } = this;
    const { random } = w;
    const columns = w.some(withId && random.chance(w.world.parts.length > 0 ? 0.3 : 0.1));
    if (columns.length > 1 && random.chance(0.2)) {
      const list = columns.map((column) => this.target(column));
      const row = random.chance(0.3) ? 'ROW' : '';
      const source = random.chance(0.25)
        ? `(SELECT ${w.comma(columns.map((column) => (column.role === 'id' ? '777' : random.pick(['NULL', value(column)]).replace(/^DEFAULT$/, 'NULL'))))})`
        : `${row}(${w.comma(columns.map(value))})`;
      return `(${w.comma(list)})${w.gap()}=${w.gap()}${source}`;
    }
    return w.comma(columns.map((column) => `${this.assigned(column)}${w.gap()}= ${value(column)}`));
  }

  /** A column, or a part of it where its type has parts. */
  private assigned(column: Column): string {
    const name = this.target(column);
    if (column.role !== 'lead' || !this.w.random.chance(0.1)) return name;
    if (/\[\]$|^few$/.test(column.type)) return `${name}[${this.w.random.pick([1, 1, 2, 5])}]`;
    return column.type === 'pair' ? `${name}.x` : name;
  }

  update(): string {
    const { w } = this;
    const { random } = w;
    const alias = random.chance(0.3) ? random.pick(['z', 'AS z']) : '';
    const name = alias ? 'z' : w.name(w.relation);
    const from = random.chance(0.22);
    const lead = w.column('lead')!;
    const own = `${name}.${w.lead}`;
    const set = this.setList(
      (column) => (column === lead && random.chance(0.25) ? own : w.value(column, own, true)),
      true,
    );
    const key = w.key();
    const wheres = [`${name}.id = ${key}`, `id = ${key}`.replace(/^id/, `${name}.id`)];
    const many = !w.draws(set) && !/\bu\b|"u"|\bid\b/i.test(set) && !w.spoilt;
    if (many)
      wheres.push(
        `${name}.id < ${key} AND ${name}.id % 2 = 1`,
        `${name}.${w.lead} IS NOT NULL AND ${name}.id < 5`,
      );
    return w.join(
      random.chance(0.07) && `WITH w AS (SELECT * FROM ${w.table()} WHERE id = 1)`,
      'UPDATE',
      random.chance(0.15) && 'ONLY',
      w.table(),
      alias,
      'SET',
      set,
      from &&
        random.pick([
          'FROM items i',
          'FROM items AS i JOIN o ON o.id = i.n',
          'FROM (SELECT 1 AS n) i',
        ]),
      `WHERE ${random.pick(wheres)}${from ? ' AND i.n = 1' : ''}`,
      w.returning(name),
    );
  }

  deletes(): string {
    const { w } = this;
    const using = w.random.chance(0.3) ? 'USING items AS i WHERE i.n = 2 AND' : 'WHERE';
    const name = w.table();
    const short = name.replace(/^.*\./s, '');
    return w.join(`DELETE FROM ${name} ${using} ${short}.id = ${w.key()}`, w.returning(short));
  }

  merge(): string {
    const { w } = this;
    const { random } = w;
    const lead = w.column('lead')!;
    const set = () =>
      this.setList(
        (column) =>
          column === lead && random.chance(0.3)
            ? `z.${w.lead}`
            : w.value(column, `z.${w.lead}`, true),
        false,
      );
    const always = w.world.identity === 'always' ? 'OVERRIDING SYSTEM VALUE' : false;
    const insert = () =>
      w.join(
        `INSERT (id, ${w.lead}, note)`,
        always,
        `VALUES (s.n + ${300 + random.below(100)}, ${w.value(lead, null, true)}, s.label)`,
      );
    const update = random.pick([
      'DELETE',
      'DO NOTHING',
      `UPDATE SET ${set()}`,
      `UPDATE SET ${set()}`,
    ]);
    const missing = random.pick(['DO NOTHING', insert(), insert(), 'INSERT DEFAULT VALUES']);
    // The plan says in which order rows come, and with it which of them gets what is drawn.
    const isDrawn = w.draws(update) || w.draws(missing) || missing.includes('DEFAULT VALUES');
    const one = `(SELECT ${w.key()}::int AS n, 'm'::text AS label) s ON z.id = s.n`;
    const several = [
      'items s ON z.id = s.n AND s.n < 3',
      `(VALUES (2, 'm'), (99, 'w')) AS s (n, label) ON z.id = s.n`,
    ];
    const source = isDrawn ? one : random.pick([one, ...several]);
    const gone =
      w.major >= 17 &&
      !isDrawn &&
      random.chance(0.2) &&
      `WHEN NOT MATCHED BY SOURCE AND z.id = 5 THEN UPDATE SET ${set()}`;
    // Nor may one row take a unique value that another one gives up.
    const isPassedOn = [update, gone].every((action) => action && /\bu\b/i.test(action));
    const bySource = !isPassedOn && gone;
    const returning =
      w.major >= 17 &&
      random.chance(0.4) &&
      `RETURNING ${random.pick(['merge_action(), z.*', `z.id, z.${w.lead}`, 's.n, z.note', '*'])}`;
    return w.join(
      `MERGE INTO ${w.table()} AS z USING ${source}`,
      random.chance(0.8) &&
        `WHEN MATCHED${random.chance(0.3) ? ' AND z.n > 0' : ''} THEN ${update}`,
      `WHEN NOT MATCHED THEN ${missing}`,
      bySource,
      returning,
    );
  }

  /** Writes within a statement. */
  nested(): string {
    const { w } = this;
    const { random } = w;
    const lead = w.column('lead')!;
    const value = () => w.value(lead, null, false);
    const id = 500 + random.below(200);
    const always = w.world.identity === 'always' ? 'OVERRIDING SYSTEM VALUE' : '';
    return random.pick([
      () =>
        `WITH w AS (UPDATE ${w.table()} SET ${w.lead} = ${value()} WHERE id = ${w.key()} RETURNING *) SELECT * FROM w`,
      () => `WITH w AS (INSERT INTO ${w.table()} (id, ${w.lead}) ${always} VALUES (${id}, ${value()}) RETURNING *),
          x AS (DELETE FROM ${w.table()} WHERE id = 6 RETURNING id, n) SELECT w.*, x.n FROM w LEFT JOIN x ON true`,
      () =>
        `WITH w AS (SELECT 1 AS one) INSERT INTO ${w.table()} (id, n) ${always} SELECT one + ${id}, one FROM w RETURNING n`,
      () =>
        `WITH w AS (DELETE FROM o WHERE id = ${w.key()} RETURNING *) INSERT INTO ${w.table()} (id, note, ${w.lead}) ${always} SELECT ${id} + id, 'o', NULL FROM w RETURNING *`,
      () =>
        `INSERT INTO ${w.table()} (id, n) ${always} VALUES (${id}, (SELECT n FROM items WHERE n = 1)) RETURNING *`,
      () =>
        `UPDATE ${w.table()} SET n = (SELECT count(*) FROM (SELECT * FROM ${w.table()}) q) WHERE id = ${w.key()} RETURNING *`,
      () =>
        `WITH w AS (UPDATE ${w.table()} SET n = 1 WHERE id = 2 RETURNING id) UPDATE ${w.table()} t2 SET note = 'w' FROM w WHERE t2.id = w.id + 1 RETURNING t2.*`,
      () =>
        `WITH w AS (INSERT INTO ${w.table()} (id, ${w.lead}) ${always} VALUES (${id}, ${value()}) RETURNING id) INSERT INTO o SELECT id, 1 FROM w`,
      () => `UPDATE ${w.table()} SET ${w.lead} = ${w.lead} WHERE id = 8`,
      () => `UPDATE o SET x = (SELECT max(id) FROM ${w.table()}) WHERE id = 2 RETURNING *`,
      () =>
        `INSERT INTO o VALUES (${id}, ${random.pick(['1', 'NULL', "'7'", "'x'", 'tick()'])}) RETURNING *`,
      () => `UPDATE o SET x = x + 1 WHERE id = ${w.key()} RETURNING *, x`,
      () => `INSERT INTO o (id) SELECT id FROM ${w.table()} WHERE id < 4
          ON CONFLICT (id) DO UPDATE SET x = o.x + excluded.id RETURNING *`,
      () => `INSERT INTO o SELECT id + 100, 5 FROM ${w.table()} WHERE id = ${w.key()} RETURNING *`,
    ])();
  }
}
