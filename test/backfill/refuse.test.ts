import t from 'tap';
import { readCheckpoint } from '../../backfill/checkpoint.js';
import { Cluster } from '../../cli/demo/cluster.js';
import { connect } from '../../db/connect.js';
import { makeJob, pendingRows, run } from './setup.js';

t.test('what a fill fires, whom it obeys and what it refuses', async (t) => {
  const cluster = await Cluster.create();
  t.teardown(() => cluster.destroy());
  const client = await cluster.client();
  t.teardown(() => client.end());
  const asUser = (user: string) => ({ url: cluster.url('postgres', user) });
  await client.query(`
    CREATE ROLE filler LOGIN;
    CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN NEW.touched = coalesce(NEW.touched, 0) + 1; RETURN NEW; END $$;
    CREATE FUNCTION public.guard() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN NEW.guarded = true; RETURN NEW; END $$`);
  const columns = ', touched integer, guarded boolean';
  const grant = (table: string) =>
    client.query(`GRANT SELECT, UPDATE ON public.${table} TO filler;
      GRANT ALL ON ALL TABLES IN SCHEMA pgtandem TO filler; GRANT pg_monitor TO filler`);
  const trigger = (table: string) =>
    client.query(`
      CREATE TRIGGER a BEFORE UPDATE ON public.${table} FOR EACH ROW EXECUTE FUNCTION touch();
      CREATE TRIGGER b BEFORE UPDATE ON public.${table} FOR EACH ROW EXECUTE FUNCTION guard();
      ALTER TABLE public.${table} ENABLE ALWAYS TRIGGER b`);
  const fired = async (table: string) =>
    (
      await client.query(`SELECT count(touched)::int AS users, count(guarded)::int AS ours
       FROM public.${table}`)
    ).rows[0];

  t.test(
    'the triggers of the user stay silent when the job says so, a guard does not',
    async (t) => {
      const job = await makeJob(cluster, 500, { table: 'silent', columns, silenceTriggers: true });
      await trigger('silent');
      await run(cluster, job);
      t.equal(await pendingRows(client, 'silent'), 0);
      t.same(await fired('silent'), { users: 0, ours: 500 });
    },
  );

  t.test('otherwise they fire', async (t) => {
    const job = await makeJob(cluster, 500, { table: 'loud', columns });
    await trigger('loud');
    await run(cluster, job);
    t.same(await fired('loud'), { users: 500, ours: 500 });
  });

  t.test(
    'a role that may not silence triggers is told so, and may once it is granted',
    async (t) => {
      const job = await makeJob(cluster, 500, { table: 'granted', columns, silenceTriggers: true });
      await grant('granted');
      await t.rejects(run(cluster, job, asUser('filler')), {
        code: '42501',
        message: /session_replication_role/,
      });
      await client.query('GRANT SET ON PARAMETER session_replication_role TO filler');
      t.equal((await run(cluster, job, asUser('filler'))).result.rowsFilled, 500);
    },
  );

  t.test('rows that a policy hides from the role are an error, not rows left out', async (t) => {
    const job = await makeJob(cluster, 500, { table: 'hidden' });
    await grant('hidden');
    await client.query(`ALTER TABLE public.hidden ENABLE ROW LEVEL SECURITY;
      CREATE POLICY p ON public.hidden USING (id % 2 = 0)`);
    await t.rejects(run(cluster, job, asUser('filler')), { code: '42501', message: /policy/ });
    t.equal(await pendingRows(client, 'hidden'), 500);
  });

  t.test('a role that may not VACUUM fills all the same, and it is said', async (t) => {
    const job = await makeJob(cluster, 500, { table: 'plain' });
    await grant('plain');
    const { result, seen } = await run(cluster, job, asUser('filler'));
    t.equal(result.rowsFilled, 500);
    t.match(seen[0]!.notes, [/role filler may not VACUUM "public"\."plain"/]);
  });

  t.test('a table of another oid under the same name is not touched', async (t) => {
    const job = await makeJob(cluster, 500, { table: 'replaced' });
    await client.query(`ALTER TABLE public.replaced RENAME TO replaced_old;
      CREATE TABLE public.replaced (LIKE public.replaced_old INCLUDING DEFAULTS); INSERT INTO public.replaced (id) VALUES (1)`);
    await t.rejects(run(cluster, job), { message: /not the table that the migration was planned/ });
    t.equal(await pendingRows(client, 'replaced'), 1);
  });

  t.test('a partitioned table, a view and a table that is gone are refused', async (t) => {
    await client.query(`CREATE TABLE public.parts (id integer, id_new bigint) PARTITION BY LIST (id);
      CREATE VIEW public.seen AS SELECT 1 AS id, 2::bigint AS id_new`);
    const job = await makeJob(cluster, 1, { table: 'other' });
    for (const name of ['parts', 'seen', 'gone']) {
      const { rows } = await client.query(`SELECT coalesce(to_regclass($1)::oid::int, 1) AS oid`, [
        `public.${name}`,
      ]);
      const table = { oid: rows[0].oid, schema: 'public', name };
      await t.rejects(run(cluster, { ...job, table }), { message: /not an ordinary heap table/ });
    }
  });

  t.test('names are quoted, and the children of a table are left alone', async (t) => {
    const job = await makeJob(cluster, 100, { table: '"We""ird ""$1 */ /*"' });
    await client.query(`CREATE TABLE public.child () INHERITS (public."We""ird ""$1 */ /*");
      INSERT INTO public.child (id) VALUES (-1)`);
    job.table.name = 'We"ird "$1 */ /*';
    await run(cluster, job);
    t.equal(await pendingRows(client, 'child'), 1);
    t.equal(await pendingRows(client, '"We""ird ""$1 */ /*"'), 1, 'which is the row of the child');
  });

  t.test('an UPDATE that a rule turns into something else is refused', async (t) => {
    const job = await makeJob(cluster, 100, { table: 'ruled' });
    await client.query('CREATE RULE r AS ON UPDATE TO public.ruled DO INSTEAD NOTHING');
    await t.rejects(run(cluster, job), {
      message: /cannot be prepared .*: look for rules/,
    });
  });

  t.test('a checkpoint that another process moves on is left to it', async (t) => {
    const job = await makeJob(cluster, 5_000, { table: 'twice' });
    const connection = await connect({ url: cluster.url(), role: 'test' });
    t.teardown(() => connection.end());
    for (const [table, move] of [
      ['overtaken', 'next_block = end_block'],
      ['passed', 'pass = pass + 1'],
    ] as const) {
      const job = await makeJob(cluster, 5_000, { table });
      let moved: unknown;
      await t.rejects(
        run(cluster, job, { settings: { chunkTargetMs: 1 } }, async () => {
          const { rows } = await client.query(
            `UPDATE pgtandem.backfill SET ${move} WHERE migration_id = ${job.migrationId}
             RETURNING pass, next_block::float8 AS "nextBlock"`,
          );
          moved ??= rows[0];
          return undefined;
        }),
        { message: /another process fills the same table/ },
      );
      t.match(await readCheckpoint(connection, job.migrationId), moved as object, 'not back');
    }
    t.equal((await run(cluster, job)).result.outcome, 'complete');
  });

  t.test('settings that cannot be had are an error', async (t) => {
    const job = await makeJob(cluster, 100, { table: 'unset' });
    const failing = { maxLagMs: Number.NaN, chunkTargetMs: Number.NaN };
    await t.rejects(run(cluster, job, { settings: failing }));
    t.equal(await pendingRows(client, 'unset'), 100);
  });
});
