import t from 'tap';
import { Metrics } from '../../metrics/registry.js';
import { Sightings, Witness } from '../../proxy/sightings.js';
import type { Shape } from '../../sql/outcome.js';

/*
 * What was broken to see this fail: `isListed` left true by `take`; `found` kept when the
 * application changes; WHO_MAX or TALLIES_MAX out of reach; a count of 0 exported or left out;
 * `named` of a text that is not known given as none.
 */

const shape = (text: string, ...named: string[]): Shape => ({
  text,
  isWhole: true,
  outcome: 'rewritten',
  reason: null,
  tables: [{ oid: 7, name: 'public.users', named }],
});

function witness(application: string, user = 'u'): Witness {
  const made = new Witness(user);
  made.application = application;
  return made;
}

async function uses(metrics: Metrics): Promise<Record<string, number>> {
  const found = await metrics.registry.getSingleMetric('pgtandem_column_uses_total')!.get();
  return Object.fromEntries(
    found.values.map(({ labels, value }) => [`${labels.column} ${labels.application}`, value]),
  );
}

t.test('counts are taken once, by statement and by who sent it', async (t) => {
  const seen = new Sightings();
  const metrics = new Metrics();
  const [a, b] = [witness('a'), witness('b')];
  const [one, two] = [shape('one', 'name'), shape('two')];
  for (let i = 0; i < 3; i++) seen.see(a, one, 1);
  seen.see(b, one, 1);
  seen.see(a, two, 0);
  const taken = seen.take(metrics);
  t.same(
    taken.map((each) => [each.statement, each.application, each.count]),
    [
      ['one', 'a', 3],
      ['one', 'b', 1],
      ['two', 'a', 0],
    ],
  );
  t.match(taken[0], { table: 7, outcome: 'rewritten', named: ['name'], user: 'u', isWhole: true });
  t.same(await uses(metrics), { 'name a': 3, 'name b': 1 });
  t.same(seen.take(metrics), [], 'nothing is told twice');
  seen.see(a, one, 1);
  t.match(seen.take(metrics), [{ statement: 'one', count: 1 }]);
  a.application = 'another';
  seen.see(a, one, 1);
  t.match(seen.take(metrics), [{ application: 'another', count: 1 }]);
});

t.test('of what is not known it is told that it may name any column', async (t) => {
  const seen = new Sightings();
  const metrics = new Metrics();
  const tables = [{ oid: 7, name: 'public.users' }];
  seen.seeUnknown(witness('a'), tables, 'too-large');
  seen.seeUnknown(witness('a'), tables, 'too-large');
  seen.seeUnknown(witness('a'), tables, 'text-not-kept');
  t.match(seen.take(metrics), [
    { statement: '', named: null, reason: 'too-large', count: 2 },
    { statement: '', named: null, reason: 'text-not-kept', count: 1 },
  ]);
  t.same(await uses(metrics), { '(unknown) a': 3 });
});

t.test('memory is bounded, and no use of a name is lost for it', async (t) => {
  const seen = new Sightings();
  const metrics = new Metrics();
  const shapes = Array.from({ length: 100 }, (_, i) => shape(`s${i}`, 'name'));
  let sent = 0;
  for (let who = 0; who < 400; who++) {
    const each = witness(`application ${who}`);
    for (const one of shapes) {
      seen.see(each, one, 1);
      sent++;
    }
  }
  const taken = seen.take(metrics);
  t.equal(
    taken.reduce((sum, { count }) => sum + count, 0),
    sent,
  );
  t.ok(taken.length <= 5_100, `${taken.length} are kept`);
  t.ok(taken.every(({ named }) => named?.includes('name')));
  const labels = Object.keys(await uses(metrics));
  t.ok(labels.length <= 51, `${labels.length} series`);
  t.ok(labels.includes('name (others)'));
});
