import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { LagHistory } from '../../backfill/history.js';
import { DEFAULT_THROTTLE } from '../../backfill/job.js';
import { slots } from '../../backfill/signals/slots.js';
import { lagOf, lostStandbys, namesOf, signalsOf } from '../../backfill/standbys.js';
import { decide, REASONS, type Signal, STALE_MS } from '../../backfill/throttle.js';
import type { WalSender } from '../../db/replication.js';
import { randomFrom } from './setup.js';

const signal = (change: Partial<Signal> = {}): Signal => ({
  name: 'replica-lag',
  subject: 'standby1',
  observed: 0,
  threshold: 1_000,
  ageMs: 10,
  ...change,
});

const sender = (change: Partial<WalSender> = {}): WalSender => ({
  pid: 1,
  applicationName: 'standby1',
  clientAddress: '10.0.0.1',
  slot: null,
  state: 'streaming',
  written: 1_000,
  replayed: 1_000,
  ...change,
});

const look = (walSenders: WalSender[], known: string[] = []) => ({
  role: 'app',
  inserted: 1_000,
  flushed: 1_000,
  walSenders,
  known,
});

t.test('a reason says what was observed on what, and the limit', async (t) => {
  const texts = [
    decide([signal({ observed: 2_345 })]),
    decide([signal({ name: 'replica-bytes', observed: 70 * 1024 * 1024, threshold: 64 << 20 })]),
    decide([signal({ name: 'replica-bytes', observed: 2_048, threshold: 1_024 })]),
    decide([signal({ name: 'replica-bytes', observed: null, threshold: 64 << 20 })]),
    decide([signal({ observed: null })]),
    decide([signal({ name: 'standby-lost', observed: 1, threshold: 0 })]),
    decide([signal({ name: 'privilege', subject: '"My App"', observed: 2, threshold: 0 })]),
    decide([signal({ ageMs: 1_400 })]),
    decide([]),
  ].map((answer) => answer?.text);
  t.same(texts, [
    'replica-lag: standby1 2.3 s behind (limit 1.0 s)',
    'replica-bytes: standby1 70.0 MB behind (limit 64.0 MB)',
    'replica-bytes: standby1 2.0 kB behind (limit 1.0 kB)',
    'replica-bytes: standby1 has not said how far it is (limit 64.0 MB)',
    'replica-lag: standby1 has not replayed yet what was there at the start (limit 1.0 s)',
    'standby-lost: standby1 is not streaming',
    'privilege: role "My App" may not see how far the standbys are: GRANT pg_monitor TO "My App"',
    'stale: replica-lag observed 1.4 s ago (limit 1.0 s)',
    'stale: nothing has been observed yet',
  ]);
});

t.test('goes on exactly when every signal is fresh, known and within its threshold', async (t) => {
  const seed = Date.now() % 1e9;
  t.comment(`seed ${seed}`);
  const random = randomFrom(seed);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!;
  for (let i = 0; i < 5_000; i++) {
    const signals = Array.from({ length: Math.floor(random() * 5) }, () =>
      signal({
        name: pick(['privilege', 'standby-lost', 'replica-lag', 'replica-bytes'] as const),
        observed: pick([0, 1, 1_000, 1_001, null, Number.NaN, Number.POSITIVE_INFINITY]),
        threshold: pick([0, 1, 1_000, Number.NaN]),
        ageMs: pick([0, 500, STALE_MS, STALE_MS + 1, Number.NaN]),
      }),
    );
    const fine = signals.every(
      ({ observed, threshold, ageMs }) =>
        ageMs <= STALE_MS && observed !== null && observed <= threshold,
    );
    const answer = decide(signals);
    if ((answer === null) !== (fine && signals.length > 0)) t.fail(JSON.stringify(signals));
    if (answer && answer.text !== `${answer.name}: ${answer.detail}`) t.fail(answer.text);
  }
  t.pass('5000 draws');
});

t.test('of several reasons the gravest is told, and of one kind the worst', async (t) => {
  const mild = signal({ subject: 'a', observed: 2_000 });
  const bad = signal({ subject: 'b', observed: 9_000 });
  const unknown = signal({ subject: 'c', observed: null });
  const lost = signal({ name: 'standby-lost', subject: 'd', observed: 1, threshold: 0 });
  t.match(decide([mild, bad])?.detail, /^b 9\.0 s/);
  t.match(decide([unknown, bad])?.detail, /^c /);
  t.equal(decide([bad, lost, mild])?.name, 'standby-lost');
  t.equal(decide([lost, signal({ ageMs: 2_000 })])?.name, 'stale');
  t.equal(REASONS.length, new Set(REASONS).size);
});

t.test('lag in time is the age of the first WAL that was not replayed', async (t) => {
  const history = new LagHistory();
  t.equal(history.lagMs(0, 100), null, 'nothing is known before the first look');
  for (const [atMs, lsn] of [
    [0, 100],
    [100, 200],
    [200, 300],
    [5_000, 300],
  ] as const) {
    history.record(atMs, lsn);
  }
  t.equal(history.lagMs(5_000, 300), 0, 'idle, all replayed: no lag however long it is idle');
  t.equal(history.lagMs(5_000, 250), 4_800, 'replay is paused: lag grows by itself');
  t.equal(history.lagMs(6_000, 250), 5_800);
  t.equal(history.lagMs(5_000, 200), 4_800);
  t.equal(history.lagMs(5_000, 199), 4_900);
  t.equal(history.lagMs(5_000, 99), null, 'behind all we have seen: nobody knows since when');
  history.prune(250);
  t.equal(history.lagMs(5_000, 250), 4_800, 'what is needed still is kept');
  t.equal(history.length, 2);
  history.record(6_000, 50);
  t.equal(history.lagMs(6_000, 50), 0, 'a position that goes back begins another history');
});

t.test('the history agrees with a plain search, within bounded memory', async (t) => {
  const seed = Date.now() % 1e9;
  t.comment(`seed ${seed}`);
  const random = randomFrom(seed);
  const history = new LagHistory();
  const all: { atMs: number; lsn: number }[] = [];
  let lsn = 1_000;
  let replayed = 1_000;
  for (let atMs = 0; atMs < 3_000; atMs++) {
    if (atMs > 0 && random() < 0.7) lsn += Math.ceil(random() * 50);
    replayed = Math.min(lsn, replayed + Math.floor(random() * 40));
    history.record(atMs, lsn);
    all.push({ atMs, lsn });
    const first = all.find((sample) => sample.lsn > replayed);
    const expected = first ? atMs - first.atMs : 0;
    if (history.lagMs(atMs, replayed) !== expected)
      t.equal(history.lagMs(atMs, replayed), expected);
    if (random() < 0.1) history.prune(replayed);
  }
  t.pass('agreed');
  history.prune(lsn);
  for (let i = 0; i < 100_000; i++) history.record(3_000 + i, lsn + 1 + i);
  t.ok(history.length <= 20_000, `${history.length} samples`);
  const seen = history.lagMs(103_000, lsn);
  t.equal(seen, 100_000, 'thinning keeps the first that was not replayed');
});

t.test('a standby is known by its slot, its name, or its name and address', async (t) => {
  const slotted = sender({ slot: { name: 'slot1', type: 'physical', confirmed: null } });
  t.same(namesOf(slotted, [slotted]), ['slot1', 'standby1', 'standby1@10.0.0.1']);
  const nameless = sender({ applicationName: 'walreceiver' });
  t.same(namesOf(nameless, [nameless]), ['walreceiver@10.0.0.1', 'walreceiver']);
  const local = sender({ clientAddress: null });
  t.same(namesOf(local, [local]), ['standby1', 'standby1@local']);
  const twin = sender({ pid: 2, clientAddress: '10.0.0.2' });
  t.same(namesOf(local, [local, twin]), ['standby1@local', 'standby1']);
});

t.test('a known standby is lost unless it streams under one of its names', async (t) => {
  const lost = (walSenders: WalSender[]) => lostStandbys(look(walSenders, ['standby1']));
  t.same(lost([]), ['standby1']);
  t.same(lost([sender()]), []);
  t.same(lost([sender({ state: 'catchup' })]), []);
  t.same(lost([sender({ slot: { name: 's', type: 'physical', confirmed: null } })]), []);
  t.same(lost([sender({ clientAddress: '10.0.0.9' })]), [], 'another address, the same standby');
  for (const state of ['startup', 'backup', 'stopping', null] as const) {
    t.same(lost([sender({ state })]), ['standby1'], `${state}`);
  }
  t.same(lost([sender({ replayed: null, written: null })]), ['standby1'], 'not reported yet');
  const logical = { name: 'standby1', type: 'logical', confirmed: 1 } as const;
  t.same(lost([sender({ slot: logical })]), ['standby1'], 'a subscriber is no standby');
  const twins = [sender(), sender({ pid: 2, clientAddress: '10.0.0.2' })];
  const known = ['standby1@10.0.0.1', 'standby1@10.0.0.2'];
  t.same(lostStandbys(look(twins, known)), []);
  t.same(lostStandbys(look(twins.slice(1), known)), ['standby1@10.0.0.1']);
});

t.test('each kind of walsender is held to the limits that mean something for it', async (t) => {
  const history = new LagHistory();
  history.record(0, 500);
  history.record(100, 1_000);
  const names = (walSenders: WalSender[], known: string[] = []) => {
    const replication = look(walSenders, known);
    const lags = lagOf(replication, 5_100, history);
    return signalsOf(replication, lags, DEFAULT_THROTTLE, 0)
      .filter(({ observed }) => observed !== 0)
      .map(({ name, subject, observed }) => `${name} ${subject} ${observed}`);
  };
  t.same(names([]), [], 'no standbys, no reason');
  t.same(names([sender({ replayed: 600 })]), [
    'replica-lag standby1 5000',
    'replica-bytes standby1 400',
  ]);
  const logical = { name: 'sub', type: 'logical', confirmed: 700 } as const;
  t.same(names([sender({ slot: logical, replayed: null })]), ['replica-bytes sub 300']);
  t.same(names([sender({ state: 'backup', written: null, replayed: null })]), [], 'base backup');
  t.same(names([sender({ written: 900, replayed: null })]), [], 'pg_receivewal');
  t.same(names([sender({ written: null, replayed: null })]), ['replica-bytes standby1 null']);
  t.same(names([sender({ state: null, written: null, replayed: null })]), ['privilege app 1']);
  t.same(names([], ['standby1']), ['standby-lost standby1 1']);
});

t.test(
  'a slot stops it by what it retains, and whatever that is when it is about to be lost',
  async (t) => {
    const judged = (status: 'reserved' | 'extended' | 'unreserved', megabytes: number) => {
      const slot = { name: 's', status, retained: megabytes * 1024 * 1024 };
      const settings = { ...DEFAULT_THROTTLE, maxSlotBytes: 8 * 1024 * 1024 };
      const seen = slots().judge([slot], settings);
      return decide(seen.map((one) => ({ ...one, name: 'slot-wal', level: 'hard', ageMs: 0 })))
        ?.text;
    };
    t.equal(judged('reserved', 8), undefined);
    t.equal(judged('extended', 9), 'slot-wal: slot s retains 9.0 MB (limit 8.0 MB)');
    const lost = 'slot-wal: slot s is about to be lost (max_slot_wal_keep_size): 1.0 MB behind';
    t.equal(judged('unreserved', 1), lost);
  },
);

t.test('docs/backfill.md explains every reason, and no other', async (t) => {
  const file = join(import.meta.dirname, '..', '..', '..', 'docs', 'backfill.md');
  const table = readFileSync(file, 'utf8')
    .split(/^\| reason +\|/m)[1]!
    .split('\n\n')[0]!;
  const explained = [...table.matchAll(/^\| `([a-z-]+)` +\|/gm)].map((match) => match[1]!);
  t.same(explained.sort(), [...REASONS].sort());
});
