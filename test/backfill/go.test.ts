import t from 'tap';
import { Go } from '../../backfill/go.js';
import { DEFAULT_THROTTLE } from '../../backfill/job.js';

/**
 * What was broken to see this test fail, each alone: a go that holds for ever, for another look, for other settings,
 * and after a stop.
 */
t.test('a go holds for the same look and settings, and not for long', async (t) => {
  const go = new Go();
  const settings = { ...DEFAULT_THROTTLE };
  t.notOk(go.holds(1_000, settings, 1_000), 'nothing has been judged yet');
  go.judged(true, 1_000, settings, 1_010);
  t.ok(go.holds(1_000, settings, 1_010));
  t.ok(go.holds(1_000, settings, 1_109));
  t.notOk(go.holds(1_000, settings, 1_110), 'what is older is judged again');
  t.notOk(go.holds(1_050, settings, 1_060), 'another look');
  t.notOk(go.holds(1_000, { ...settings }, 1_060), 'settings that were read anew');
  go.judged(false, 1_000, settings, 1_070);
  t.notOk(go.holds(1_000, settings, 1_071), 'a stop is judged each time');
});
