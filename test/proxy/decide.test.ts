import t from 'tap';
import { Drain, type DrainView } from '../../proxy/drain.js';
import { Force } from '../../proxy/force.js';
import { FAILED, IDLE, IN_TRANSACTION } from '../../proxy/ledger.js';
import { lookupText, Resolver } from '../../proxy/resolve.js';
import { StartupReader } from '../../proxy/startup.js';
import { type Progress, Touches } from '../../proxy/touches.js';
import type { Rewrite } from '../../sql/outcome.js';
import { endsTransaction, mayChangeNames } from '../../sql/steady.js';
import { FakeRewriter, tableRule } from './rewriter.js';
import { GSS_REQUEST, PROTOCOL_3_2, SSL_REQUEST, startupPacket } from './wire.js';

t.test('a statement that is not known to leave names alone may change them', async (t) => {
  const steady = [
    'SELECT 1',
    ' select * from t;  ',
    '/* by app */ SELECT 1',
    '-- note\nINSERT INTO t VALUES (1)',
    'WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x',
    'UPDATE t SET a = 1',
    'BEGIN',
    'SELECT my_pg_temp, intox FROM t;',
    'COMMIT',
    'COPY t FROM STDIN',
    'MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE',
  ];
  for (const text of steady) t.equal(mayChangeNames(text), false, text);
  const changing = [
    'SET search_path = a',
    'SET ROLE x',
    'CREATE TEMP TABLE t (a int)',
    'SELECT * INTO TEMP t FROM s',
    'SELECT 1 AS pg_temp',
    "SELECT f('Search_Path')",
    'SELECT * INTO t FROM s',
    'WITH x AS (SELECT 1) SELECT * INTO t FROM x',
    'INSERT INTO a SELECT 1; CREATE TEMP TABLE t (a int)',
    "SELECT set_config('search_path', 'x', false)",
    'DISCARD ALL',
    'DO $$ begin end $$',
    'CALL p()',
    'EXECUTE s',
    'DROP TABLE t',
    'ALTER TABLE t RENAME TO u',
    '/* a /* nested */ SELECT */ CREATE TABLE t (a int)',
    '',
    'nonsense',
  ];
  for (const text of changing) t.equal(mayChangeNames(text), true, text);
  t.equal(endsTransaction('/* x */ rollback to a'), true);
  t.equal(endsTransaction('SELECT 1'), false);
});

t.test(
  'the question is ASCII whatever the names are, quotes them, and asks for the view and the server',
  async (t) => {
    t.equal(
      lookupText(['users', 'a"b', "o'x\\", 'ä']),
      `SELECT pg_catalog.array_to_string(ARRAY[` +
        `pg_catalog.to_regclass(E'"users"')::pg_catalog.oid, ` +
        `pg_catalog.to_regclass(E'"a""b"')::pg_catalog.oid, ` +
        `pg_catalog.to_regclass(E'"o''x\\\\"')::pg_catalog.oid, ` +
        `pg_catalog.to_regclass(E'"\\U000000e4"')::pg_catalog.oid], ' ', '0'), ` +
        `pg_catalog.current_setting('pgtandem.view', true), ` +
        'extract(epoch FROM pg_catalog.pg_postmaster_start_time())',
    );
  },
);

t.test('an answer is cached, and forgotten at whatever may change it', async (t) => {
  const names = ['users'];
  const fresh = () => {
    const resolver = new Resolver();
    resolver.parameter('client_encoding', 'UTF8');
    resolver.parameter('standard_conforming_strings', 'on');
    resolver.parameter('search_path', 'public');
    resolver.learn(names, ['7']);
    return resolver;
  };
  const after = (change: (resolver: Resolver) => void) => {
    const resolver = fresh();
    change(resolver);
    return resolver.get(names)?.get('users') ?? null;
  };
  t.equal(
    after(() => undefined),
    7,
  );
  t.equal(
    after((r) => r.runs('SELECT 1')),
    7,
  );
  t.equal(
    after((r) => r.runs('SET search_path = x')),
    null,
  );
  const [read, set] = ['SELECT 1', 'SET search_path = x'].map((text) => Buffer.from(text));
  const rewrite = { outcome: 'unchanged', text: read!, touches: [], reason: null } as const;
  const seen = (suspect: boolean): Rewrite => {
    return { ...rewrite, refusal: null, edits: [], found: { suspect, ends: false } };
  };
  t.equal(
    after((r) => r.sends(read!, seen(true))),
    null,
    'what is known of a text is not looked for',
  );
  t.equal(
    after((r) => r.sends(set!, seen(false))),
    7,
    'what is known of a text is not looked for',
  );
  t.equal(
    after((r) => r.sends(read!, { ...rewrite, refusal: null, edits: [] })),
    7,
    'what is not known is',
  );
  t.equal(
    after((r) => r.sends(set!, null)),
    null,
    'what is not known is',
  );
  t.equal(
    after((r) => {
      r.parameter('standard_conforming_strings', 'off');
      r.learn(names, ['7']);
      r.sends(read!, seen(false));
    }),
    null,
    'where strings have escapes, or letters bytes like ASCII, nothing is',
  );
  t.equal(
    after((r) => r.runs(null)),
    null,
    'a text that is not known',
  );
  t.equal(
    after((r) => r.tagged('SELECT 1')),
    7,
  );
  t.equal(
    after((r) => r.tagged('CREATE TABLE')),
    null,
  );
  t.equal(
    after((r) => r.tagged('DO')),
    null,
  );
  t.equal(
    after((r) => r.parameter('search_path', 'public')),
    7,
  );
  t.equal(
    after((r) => r.parameter('search_path', 'x')),
    null,
  );
  t.equal(
    after((r) => r.parameter('client_encoding', 'SJIS')),
    null,
  );
  t.equal(
    after((r) => r.parameter('TimeZone', 'UTC')),
    7,
  );
  t.equal(fresh().get(['other']), null, 'other rules ask for themselves');
  t.same(fresh().get([]), new Map());
});

t.test('what a transaction changed is asked again after its end', async (t) => {
  const names = ['users'];
  const resolver = new Resolver();
  resolver.runs('SET LOCAL search_path = x');
  resolver.ready(IN_TRANSACTION, true);
  resolver.learn(names, ['8']);
  resolver.runs('SELECT 1');
  t.ok(resolver.get(names), 'within the transaction the answer holds');
  resolver.runs('COMMIT');
  t.equal(resolver.get(names), null, 'from the COMMIT on, before its answer');
  resolver.ready(IDLE, true);
  resolver.learn(names, ['7']);
  resolver.runs('COMMIT');
  resolver.ready(IDLE, true);
  t.ok(resolver.get(names), 'a transaction that changed nothing costs no question');
  resolver.runs('SET search_path = y');
  resolver.learn(names, ['8']);
  resolver.syncs();
  t.equal(resolver.get(names), null, 'Sync ends an implicit transaction');
});

t.test(
  'bytes below 0x80 are ASCII in most encodings; strings must follow the standard',
  async (t) => {
    const resolver = new Resolver();
    t.equal(resolver.plain, false, 'nothing is known yet');
    resolver.parameter('standard_conforming_strings', 'on');
    for (const name of ['UTF8', 'LATIN1', 'EUC_JP', 'SQL_ASCII', 'WIN1252']) {
      resolver.parameter('client_encoding', name);
      t.equal(resolver.plain, true, name);
    }
    for (const name of ['SJIS', 'BIG5', 'GBK', 'UHC', 'GB18030', 'JOHAB', 'SHIFT_JIS_2004']) {
      resolver.parameter('client_encoding', name);
      t.equal(resolver.plain, false, name);
    }
    resolver.parameter('client_encoding', 'UTF8');
    t.equal(resolver.escapes, false);
    resolver.parameter('standard_conforming_strings', 'off');
    t.equal(resolver.plain, false);
    t.equal(resolver.escapes, true);
    resolver.parameter('client_encoding', 'SJIS');
    t.equal(resolver.escapes, false, 'whether that is a backslash is not known');
  },
);

const progress = (more: Partial<Progress> = {}): Progress => ({
  pushed: 0,
  pending: 0,
  lastReady: 0,
  batchStart: 0,
  batchesInFlight: 0,
  openBatch: false,
  ...more,
});

t.test('a session goes on when its batch or its transaction has touched the table', async (t) => {
  const touches = new Touches();
  t.equal(touches.goesOn(1, progress(), IN_TRANSACTION), false);
  touches.mark([1], 5);
  t.equal(
    touches.goesOn(1, progress({ pushed: 5, lastReady: 5, batchStart: 5 }), IN_TRANSACTION),
    true,
  );
  t.equal(touches.goesOn(1, progress({ pending: 1 }), IN_TRANSACTION), false, 'not known yet');
  t.equal(touches.goesOn(1, progress({ openBatch: true, batchStart: 4, pending: 1 }), IDLE), true);
  t.equal(touches.goesOn(1, progress({ openBatch: true, batchStart: 6, pending: 1 }), IDLE), false);
  touches.released(6);
  t.equal(touches.goesOn(1, progress(), IN_TRANSACTION), false, 'ROLLBACK TO gives locks up');
});

t.test('a statement in flight counts until its ReadyForQuery', async (t) => {
  const touches = new Touches();
  touches.mark([1], 5);
  const flight = progress({
    pushed: 6,
    pending: 2,
    lastReady: 4,
    batchStart: 6,
    batchesInFlight: 1,
  });
  t.equal(touches.inFlight(1, flight, IDLE), true);
  t.equal(touches.inFlight(2, flight, IDLE), false);
  t.equal(
    touches.inFlight(1, { ...flight, batchStart: 4 }, IDLE),
    false,
    'its batch is not finished',
  );
  touches.ready(6, IDLE);
  t.equal(touches.inFlight(1, flight, IDLE), false);
  touches.mark([1], 8);
  touches.ready(8, IN_TRANSACTION);
  touches.mark([1], 9);
  const next = progress({ pushed: 9, pending: 1, lastReady: 8, batchStart: 9, batchesInFlight: 1 });
  t.equal(touches.inFlight(1, next, IN_TRANSACTION), false, 'bound by its transaction');
  t.equal(touches.inFlight(1, { ...next, batchesInFlight: 2 }, IN_TRANSACTION), true);
  touches.unknownBefore([3], 9);
  t.equal(touches.inFlight(3, next, IDLE), true, 'sent before there were rules');
});

function view(more: Partial<DrainView> & { ledger: Progress }): { view: DrainView } {
  return {
    view: { touches: new Touches(), status: IDLE, livePortals: false, idleCount: 0, ...more },
  };
}

t.test('a drain waits for the ReadyForQuery of what is in flight', async (t) => {
  const quiet = view({ ledger: progress() });
  t.equal(new Drain([quiet], { over: 'everything' }).left, 0);
  const ledger = { ...progress({ pushed: 3, pending: 1, batchStart: 3, lastReady: 2 }) };
  const busy = view({ ledger });
  const drain = new Drain([quiet, busy], { over: 'everything' });
  t.equal(drain.left, 1);
  Object.assign(ledger, { pushed: 4, batchStart: 4, lastReady: 3, pending: 1 });
  drain.progressed(busy);
  t.equal(drain.left, 0, 'what came later does not count');
  await drain.done;
});

t.test('a drain waits for an open batch, and for portals in a transaction', async (t) => {
  const ledger = { ...progress({ pushed: 3, openBatch: true, batchStart: 1, lastReady: 1 }) };
  const open = view({ ledger });
  const drain = new Drain([open], { over: 'everything' });
  drain.progressed(open);
  t.equal(drain.left, 1);
  Object.assign(ledger, { pushed: 4, batchStart: 4, lastReady: 4, openBatch: false });
  drain.progressed(open);
  t.equal(drain.left, 0);
  const holder = view({ ledger: progress(), status: IN_TRANSACTION, livePortals: true });
  const second = new Drain([holder], { over: 'everything' });
  t.equal(second.left, 1);
  Object.assign(holder.view, { idleCount: 1 });
  second.progressed(holder);
  t.equal(second.left, 0);
  const third = new Drain([view({ ledger: progress({ pending: 1, pushed: 1 }) })], {
    over: 'touching',
    oids: [1],
  });
  t.equal(third.left, 0, 'busy with other tables');
});

t.test('a drain ends when its last session is gone', async (t) => {
  const busy = view({ ledger: progress({ pushed: 1, pending: 1, batchStart: 1 }), status: FAILED });
  const drain = new Drain([busy], { over: 'everything' });
  drain.gone(busy);
  await drain.done;
  t.equal(drain.left, 0);
});

t.test('rules know which tables left, so that what was prepared under them is found', async (t) => {
  const make = (rules: ConstructorParameters<typeof FakeRewriter>[0]) => new FakeRewriter(rules);
  const first = Force.none.followedBy({ epoch: 1, tables: [tableRule(1, 'users', '')] }, make);
  t.equal(first.mayHaveRetired(Buffer.from('SELECT FROM users'), 0), false);
  const second = first.followedBy({ epoch: 2, tables: [] }, make);
  t.equal(second.rewriter, null);
  t.equal(second.mayHaveRetired(Buffer.from('SELECT FROM users'), 0), true);
  t.equal(second.mayHaveRetired(Buffer.from('SELECT FROM others'), 0), false);
  t.equal(second.mayHaveRetired(Buffer.from('SELECT FROM users'), 2), false, 'prepared since');
  let force = second;
  for (let epoch = 3; epoch < 60; epoch += 2) {
    force = force.followedBy({ epoch, tables: [tableRule(2, 'orders', '')] }, make);
    force = force.followedBy({ epoch: epoch + 1, tables: [] }, make);
  }
  t.equal(force.mayHaveRetired(Buffer.from('SELECT FROM others'), 0), true, 'too long ago to know');
  const held = first.followedBy(
    { epoch: 2, tables: [tableRule(1, 'users', '', { held: true })] },
    make,
  );
  t.equal(first.differsInHoldingOnly(held), true);
  t.equal(first.differsInHoldingOnly(second), false);
});

t.test('a start-up packet is read under any split', async (t) => {
  const packet = startupPacket({ user: 'a', database: 'b' }, PROTOCOL_3_2);
  const bytes = Buffer.concat([packet, Buffer.from('rest')]);
  for (let at = 1; at < bytes.length; at++) {
    const reader = new StartupReader(10_000);
    const first = reader.feed(bytes.subarray(0, at));
    const step = at < packet.length ? reader.feed(bytes.subarray(at)) : first;
    if (at < packet.length) t.equal(first.step, 'more');
    if (step.step !== 'start') return t.fail(`split at ${at}: ${step.step}`);
    t.equal(step.packet.equals(packet), true);
    t.same(
      [...step.parameters],
      [
        ['user', 'a'],
        ['database', 'b'],
      ],
    );
  }
  return undefined;
});

t.test('encryption is declined once each, and nothing may follow the request', async (t) => {
  const reader = new StartupReader(10_000);
  t.equal(reader.feed(SSL_REQUEST).step, 'decline');
  t.equal(reader.feed(GSS_REQUEST).step, 'decline');
  t.equal(reader.feed(SSL_REQUEST).step, 'bad');
  t.equal(
    new StartupReader(10_000).feed(Buffer.concat([SSL_REQUEST, startupPacket({})])).step,
    'bad',
  );
});

t.test(
  'lengths that cannot be right are refused; replication and other versions are raw',
  async (t) => {
    for (const length of [0, 3, 7, 10_001, -5]) {
      const bytes = Buffer.alloc(8);
      bytes.writeInt32BE(length);
      t.equal(new StartupReader(10_000).feed(bytes).step, 'bad', String(length));
    }
    const raw = (parameters: Record<string, string>, version?: number) => {
      const step = new StartupReader(10_000).feed(startupPacket(parameters, version));
      return step.step === 'start' && step.raw;
    };
    t.equal(raw({ user: 'a' }), false);
    t.equal(raw({ user: 'a', replication: 'off' }), false);
    t.equal(raw({ user: 'a', replication: 'database' }), true);
    t.equal(raw({ user: 'a', replication: 'true' }), true);
    t.equal(raw({ user: 'a' }, 0x20000), true);
  },
);
