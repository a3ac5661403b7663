import type { Plan } from './plan.js';
import type { Stage } from './stage.js';

/** How the columns of a table are shown now: in the order that an earlier migration left. */
export function shownOrder(plans: { plan: Plan; stage: Stage }[], oid: number) {
  const earlier = plans.filter(
    ({ plan, stage }) => plan.table.oid === oid && stage.name === 'ordered',
  );
  return earlier.at(-1)?.stage.order?.visible ?? null;
}
