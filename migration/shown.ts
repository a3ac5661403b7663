import type { Plan } from './plan.js';
import type { Stage } from './stage.js';

/** How the columns of a table are shown now: in the order that an earlier migration left. */
export function shownOrder(plans: { plan: Plan; stage: Stage }[], oid: number) {
  const earlier = plans.flatMap(({ plan, stage }): { visible: string[] }[] => {
    if (stage.name !== 'ordered' || !stage.order) return [];
    if (plan.table.oid === oid) return [stage.order];
    return stage.order.children?.filter((child) => child.oid === oid) ?? [];
  });
  return earlier.at(-1)?.visible ?? null;
}
