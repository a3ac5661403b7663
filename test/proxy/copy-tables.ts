import { Cluster } from '../../cli/demo/cluster.js';
import { readFields } from '../../proxy/messages.js';
import { loadParser, makeRewriter } from '../../sql/rewriter.js';
import type { ColumnRule, Expression, RuleSet, TableRule } from '../../sql/rules.js';
import { type Bench, front, type Message, RawClient } from './harness.js';

/*
 * One table in two schemas: `plain.orders` as it is, and `tandem.orders` under migration, with the
 * guard in force and a count of what it repaired. Both have a trigger that speaks up, so that
 * COPY goes row by row in both, and contexts are the same.
 */

const SHARED = `
  CREATE TABLE orders (
    id public.number NOT NULL DEFAULT 7,
    v varchar(5) DEFAULT 'Dflt',
    note public.remark CHECK (note <> 'bad'),
    j json,
    big bigint UNIQUE,
    made int DEFAULT nextval('public.ticket'));
  CREATE FUNCTION speak() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE NOTICE 'hear %', NEW.v; RETURN NEW; END$$;
  CREATE TRIGGER speak BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.note = 'loud')
    EXECUTE FUNCTION speak();`;

/**
 * The shadow columns: of a change of type, a rename, json, a soak, a change of a drawn default, and
 * integers and a domain as text.
 */
const FOLLOW = `
  ALTER TABLE orders ADD id_new bigint, ADD v_new varchar(5), ADD j_new jsonb, ADD small int,
    ADD made_new bigint, ADD id_text text, ADD big_text varchar(20),
    ADD note_text text;
  CREATE SEQUENCE repairs;
  CREATE FUNCTION repair() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    PERFORM nextval('tandem.repairs');
    NEW.id_new := NEW.id; NEW.v_new := NEW.v; NEW.j_new := NEW.j; NEW.made_new := NEW.made;
    NEW.id_text := NEW.id; NEW.big_text := NEW.big; NEW.note_text := NEW.note;
    NEW.small := CASE WHEN NEW.big BETWEEN -2147483648 AND 2147483647 THEN NEW.big END;
    RETURN NEW; END$$;
  CREATE TRIGGER zz_guard BEFORE INSERT OR UPDATE ON orders FOR EACH ROW
    WHEN (NOT (RELATION)) EXECUTE FUNCTION repair();`;

const RELATION = `NEW.id_new IS NOT DISTINCT FROM NEW.id AND NEW.v_new IS NOT DISTINCT FROM NEW.v
  AND NEW.j_new IS NOT DISTINCT FROM NEW.j::jsonb AND NEW.made_new IS NOT DISTINCT FROM NEW.made
  AND NEW.id_text IS NOT DISTINCT FROM NEW.id::text
  AND NEW.note_text IS NOT DISTINCT FROM NEW.note::text
  AND NEW.big_text IS NOT DISTINCT FROM NEW.big::text AND NEW.small IS NOT DISTINCT FROM
    CASE WHEN NEW.big BETWEEN -2147483648 AND 2147483647 THEN NEW.big END`;

const over = (text: string): Expression => ({
  texts: text.split(/@\w+/),
  columns: [...text.matchAll(/@(\w+)/g)].map((match) => match[1]!),
});

function column(name: string, type: string, more: Partial<ColumnRule> = {}): ColumnRule {
  const baseType = type.replace(/\(.*/, '');
  const rest = { notNull: false, identity: null, generated: false, default: null };
  return { name, type, baseType, ...rest, defaultVolatile: false, ...more };
}

const RULE: Omit<TableRule, 'oid' | 'guard'> = {
  schema: 'tandem',
  name: 'orders',
  version: 1,
  held: false,
  columns: [
    column('id', 'public.number', { notNull: true, default: '7', under: 'integer' }),
    column('v', 'character varying(5)', { default: "'Dflt'::character varying" }),
    column('note', 'public.remark', { under: 'text' }),
    column('j', 'json'),
    column('big', 'bigint'),
    column('made', 'integer', { default: "nextval('public.ticket')", defaultVolatile: true }),
    column('id_new', 'bigint'),
    column('v_new', 'character varying(5)'),
    column('j_new', 'jsonb'),
    column('small', 'integer'),
    column('made_new', 'bigint'),
    column('id_text', 'text'),
    column('big_text', 'character varying(20)'),
    column('note_text', 'text'),
  ],
  visible: ['id', 'v', 'note', 'j', 'big', 'made'],
  pairs: [
    ['id_new', '(@id)::bigint'],
    ['v_new', '@v'],
    ['j_new', '(@j)::jsonb'],
    ['small', 'CASE WHEN @big BETWEEN -2147483648 AND 2147483647 THEN @big::integer END'],
    ['made_new', '@made'],
    ['id_text', '(@id)::text'],
    ['big_text', '(@big)::character varying'],
    ['note_text', '(@note)::text'],
  ].map(([follow, text]) => ({
    name: follow!,
    follow: follow!,
    forward: over(text!),
    backward: follow === 'v_new' ? { lead: 'v', value: over('@v_new') } : null,
    everyUpdate: true,
  })),
};

export interface CopyTables extends Bench {
  /** A session of the plain table, directly, and one of the other, through the proxy. */
  plain: RawClient;
  tandem: RawClient;
  direct(text: string): Promise<string[][]>;
  /** Rows of both tables, as an application sees them; they are taken away. */
  rows(): Promise<{ plain: string[]; tandem: string[] }>;
  /** Rows of the table under migration that are not in order, and how often the guard repaired. */
  disorder(): Promise<{ wrong: number; repairs: number }>;
  newClients(): Promise<void>;
}

export async function copyTables(
  t: Parameters<typeof front>[0],
  major: number,
  guard: TableRule['guard'] = 'repair',
): Promise<CopyTables> {
  await loadParser();
  const cluster = await Cluster.create({ major });
  t.teardown(() => cluster.destroy());
  const b = await front(t, cluster, {}, { makeRewriter });
  const control = await b.cluster.client();
  t.teardown(() => control.end());
  await control.query(`CREATE SEQUENCE public.ticket START 1000000;
    CREATE DOMAIN public.count AS int CHECK (VALUE <> 13);
    CREATE DOMAIN public.number AS public.count CHECK (VALUE <> 14);
    CREATE DOMAIN public.remark AS text CHECK (VALUE <> 'worse')`);
  for (const schema of ['plain', 'tandem']) {
    const follow = schema === 'tandem' ? FOLLOW.replace('RELATION', RELATION) : '';
    await control.query(
      `CREATE SCHEMA ${schema}; SET search_path = ${schema}; ${SHARED} ${follow}`,
    );
  }
  if (guard === 'none') await control.query('DROP TRIGGER zz_guard ON orders');
  const { rows } = await control.query("SELECT 'tandem.orders'::regclass::oid::int AS oid");
  const tables = [{ ...RULE, oid: rows[0].oid, guard }];
  await b.proxy.apply({ epoch: 1, tables } satisfies RuleSet);
  const direct = async (text: string) => (await control.query({ text, rowMode: 'array' })).rows;
  const open = (port: number, schema: string) =>
    RawClient.login(port, { options: `-c search_path=${schema}`, client_encoding: 'UTF8' });
  const tested: CopyTables = {
    ...b,
    plain: await open(b.cluster.port, 'plain'),
    tandem: await open(b.port, 'tandem'),
    direct,
    newClients: async () => {
      tested.plain.destroy();
      tested.tandem.destroy();
      tested.plain = await open(b.cluster.port, 'plain');
      tested.tandem = await open(b.port, 'tandem');
    },
    rows: async () => {
      const of = async (schema: string) =>
        (
          await direct(`WITH gone AS (DELETE FROM ${schema}.orders RETURNING id, v, note, j::text, big,
            CASE WHEN made < 1000000 THEN made END) SELECT gone::text FROM gone ORDER BY 1`)
        ).map(([row]) => row!);
      return { plain: await of('plain'), tandem: await of('tandem') };
    },
    disorder: async () => {
      const [row] = await direct(`SELECT
        (SELECT count(*)::int FROM tandem.orders WHERE NOT (${RELATION.replaceAll('NEW.', '')})),
        (SELECT CASE WHEN is_called THEN last_value ELSE 0 END::int FROM tandem.repairs)`);
      await direct("SELECT setval('tandem.repairs', 1, false)");
      return { wrong: Number(row![0]), repairs: Number(row![1]) };
    },
  };
  t.teardown(() => {
    tested.plain.destroy();
    tested.tandem.destroy();
  });
  return tested;
}

/** What the server says, but for places in its source, and for details that show all columns. */
export function said(messages: readonly Message[]): string[] {
  return messages.flatMap(({ type, body }) => {
    if (type === 'S') return [];
    if (type !== 'E' && type !== 'N') return [`${type} ${body.toString('latin1')}`];
    const fields = readFields(body, 0, body.length);
    const shown = ['S', 'C', 'M', 'H', 'P', 'W'].map((letter) => `${letter}=${fields.get(letter)}`);
    return [`${type} ${shown.join(' ')}`];
  });
}
