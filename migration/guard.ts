import { printExpression, quoteIdentifier as q, quoteLiteral } from '../sql/rules.js';
import { GUARD_TRIGGER, ownName, type Plan, tableName } from './plan.js';
import { type Moment, type Side, sides } from './sides.js';

/** Name of the constraint that proves one change, and with `guard: reject` also enforces it. */
export const proofName = (ordinal: number) => `_pgtandem_proof_${ordinal}`;

/**
 * SQL that puts the guard in force for a moment, in place of any other. To be run in the
 * transaction that makes the moment true.
 *
 * `repair` is a trigger that runs last, before each row, whatever session_replication_role is;
 * its WHEN clause is the negated relation, so where the proxy did its work no function runs.
 * `reject` is a CHECK constraint that is not valid yet. `none` is nothing.
 */
export function guardSql(plan: Plan, moment: Moment): string[] {
  const remove = removeGuardSql(plan);
  if (plan.guard === 'none') return remove;
  if (plan.guard === 'reject') return [...remove, ...rejectSql(plan, moment)];
  return [...remove, ...repairSql(plan, moment)];
}

/** SQL that takes guard and proofs away, and leaves the counters. */
export function removeGuardSql(plan: Plan): string[] {
  const table = tableName(plan);
  return [
    `DROP TRIGGER IF EXISTS ${q(GUARD_TRIGGER)} ON ${table}`,
    `DROP FUNCTION IF EXISTS pgtandem.${q(ownName('guard', plan.table.oid))}()`,
    ...plan.changes.map(
      (_, i) => `ALTER TABLE IF EXISTS ${table} DROP CONSTRAINT IF EXISTS ${q(proofName(i))}`,
    ),
  ];
}

/** The relation as a CHECK constraint, not valid: an added column is free after cutover. */
function rejectSql(plan: Plan, moment: Moment): string[] {
  return sides(plan, moment).flatMap((side, i) =>
    moment === 'after' && side.change.source === null ? [] : [proofSql(plan, side, i)],
  );
}

export function proofSql(plan: Plan, side: Side, ordinal: number): string {
  return (
    `ALTER TABLE ${tableName(plan)} ADD CONSTRAINT ${q(proofName(ordinal))} ` +
    `CHECK (${side.holds('')}) NOT VALID`
  );
}

function repairSql(plan: Plan, moment: Moment): string[] {
  const name = `pgtandem.${q(ownName('guard', plan.table.oid))}`;
  const table = tableName(plan);
  const all = sides(plan, moment);
  const when = all.flatMap((side) => {
    const misfit = side.misfit?.('NEW.');
    return misfit ? [`NOT ${side.holds('NEW.')}`, misfit] : [`NOT ${side.holds('NEW.')}`];
  });
  const body = all.map((side) => repairBody(side, plan, moment)).join('\n');
  return [
    // The owner's rights: the application's role may use neither our counters nor, perhaps, the
    // functions of the expression. Everything in it is qualified, so search_path is empty.
    `CREATE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
     SET search_path = pg_catalog, pg_temp AS ${quoteBody(`BEGIN\n${body}\nRETURN NEW;\nEND`)}`,
    `CREATE TRIGGER ${q(GUARD_TRIGGER)} BEFORE INSERT OR UPDATE ON ${table} FOR EACH ROW
     WHEN (${when.map((sql) => `(${sql})`).join(' OR ')}) EXECUTE FUNCTION ${name}()`,
    `ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${q(GUARD_TRIGGER)}`,
  ];
}

const countSql = (kind: 'repairs' | 'misfits', plan: Plan) =>
  `PERFORM pg_catalog.nextval(${quoteLiteral(`pgtandem.${ownName(kind, plan.table.oid)}`)}` +
  '::pg_catalog.regclass);';

function repairBody(side: Side, plan: Plan, moment: Moment): string {
  const follow = `NEW.${q(side.follow)}`;
  const value = (expression: Side['forward']) =>
    printExpression(expression, (column) => `NEW.${q(column)}`);
  const forward = `${follow} := ${value(side.forward)};`;
  const repair =
    moment === 'after' && side.change.source === null
      ? fillOnly(side, forward, plan)
      : followOrLead(side, forward, value, plan);
  const misfit = side.misfit
    ? `IF ${side.misfit('NEW.')} THEN ${countSql('misfits', plan)} END IF;`
    : '';
  return `IF NOT ${side.holds('NEW.')} THEN\n${repair}\nEND IF;\n${misfit}`;
}

/**
 * A direct write of the new column alone is a new application's: the lead is derived from it.
 * Anything else follows the lead.
 */
function followOrLead(
  side: Side,
  forward: string,
  value: (expression: Side['forward']) => string,
  plan: Plan,
): string {
  const count = countSql('repairs', plan);
  if (!side.backward) return `${count}\n${forward}`;
  const lead = `NEW.${q(side.backward.lead)}`;
  const onlyFollow =
    `TG_OP = 'UPDATE' AND ${side.sameLeads('NEW.', 'OLD.')} ` +
    `AND NOT ${side.sameFollow('NEW.', 'OLD.')} ` +
    `OR TG_OP = 'INSERT' AND ${lead} IS NULL AND NEW.${q(side.follow)} IS NOT NULL`;
  return (
    `${count}\nIF ${onlyFollow} THEN ${lead} := ${value(side.backward.value)};\n` +
    `ELSE ${forward} END IF;`
  );
}

/** After cutover an added column that the application wrote stays; a missing one is filled. */
function fillOnly(side: Side, forward: string, plan: Plan): string {
  return (
    `IF TG_OP = 'INSERT' AND NEW.${q(side.follow)} IS NULL OR TG_OP = 'UPDATE' AND ` +
    `${side.sameFollow('NEW.', 'OLD.')} AND NOT (${side.sameLeads('NEW.', 'OLD.')}) THEN\n` +
    `${countSql('repairs', plan)}\n${forward}\nEND IF;`
  );
}

/** A function's body as a string constant. */
export function quoteBody(body: string): string {
  return quoteLiteral(body).trimStart();
}
