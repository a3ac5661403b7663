import { childrenOf, type Member } from '../db/tree.js';
import { readByAll } from '../sql/escapes.js';
import { printExpression, quoteIdentifier as q, quoteLiteral } from '../sql/rules.js';
import { fromBytes, toBytes } from '../sql/tree.js';
import {
  ARRIVAL_TRIGGER,
  GUARD_TRIGGER,
  ownName,
  type Plan,
  relationName,
  tableName,
} from './plan.js';
import { isNull, isSet, type Moment, nameAt, type Side, sides } from './sides.js';

/** Name of the constraint that proves one change, and with `guard: reject` also enforces it. */
export const proofName = (ordinal: number) => `_pgtandem_proof_${ordinal}`;

/**
 * SQL that puts the guard in force for a moment, in place of any other. To be run in the
 * transaction that makes the moment true.
 *
 * `repair` is a trigger that runs last, before each row, whatever session_replication_role is;
 * its WHEN clause is the negated relation, so where the proxy did its work no function runs. What
 * the user's own triggers have made of the column that is shown stands: the other one follows it.
 * Only of a rename applications may write either column, and which one a statement wrote can not be
 * told any more when the user's triggers have changed the row: where there are such triggers, another
 * one of ours runs first, puts the row in order, and notes for the last one what it then was. So it is where
 * a row may move to another partition, which fires their triggers twice: see {@link isKept}.
 * `reject` is a CHECK constraint that is not valid yet. `none` is nothing.
 * @param members the table with its partitions, which get its triggers from PostgreSQL, or children.
 */
export function guardSql(plan: Plan, members: readonly Member[], moment: Moment): string[] {
  const remove = removeGuardSql(plan);
  if (plan.guard === 'none') return remove;
  if (plan.guard === 'reject') return [...remove, ...rejectSql(plan, moment)];
  return [...remove, ...repairSql(plan, members, moment)];
}

/**
 * SQL that takes guard and proofs away, and leaves the counters. A trigger's function takes the trigger
 * with it, from whichever tables have it.
 */
export function removeGuardSql(plan: Plan): string[] {
  const table = tableName(plan);
  return [
    ...(['guard', 'arrival'] as const).map(
      (kind) => `DROP FUNCTION IF EXISTS pgtandem.${q(ownName(kind, plan.table.oid))}() CASCADE`,
    ),
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

function repairSql(plan: Plan, members: readonly Member[], moment: Moment): string[] {
  const tables = [plan.table, ...childrenOf(members)].map(relationName);
  const all = sides(plan, moment);
  const when = all.flatMap((side) => {
    const misfit = side.misfit?.('NEW.');
    return misfit ? [`NOT ${side.holds('NEW.')}`, misfit] : [`NOT ${side.holds('NEW.')}`];
  });
  const moving = all.flatMap((side, i) => (moves(side, plan, moment) ? [{ side, i }] : []));
  const clause = `WHEN (${when.map((sql) => `(${sql})`).join(' OR ')}) `;
  const last = all.map((side, i) => lastBody(side, i, plan, moment));
  const either = all.flatMap((side, i) => (isEither(side) ? [arrivalBody(side, i, plan)] : []));
  const arrival = [
    ...(plan.rowTriggers ? either : []),
    ...(moving.length > 0 ? [movedBody(moving, plan)] : []),
  ];
  return [
    ...(arrival.length > 0 ? triggerSql(plan, tables, 'arrival', '', arrival) : []),
    ...(moving.length > 0
      ? triggerSql(plan, tables, 'guard', '', [keptBody(moving, plan), ...last, leavesBody(plan)])
      : triggerSql(plan, tables, 'guard', clause, last)),
  ];
}

function triggerSql(
  plan: Plan,
  tables: readonly string[],
  kind: 'arrival' | 'guard',
  when: string,
  body: string[],
): string[] {
  const name = `pgtandem.${q(ownName(kind, plan.table.oid))}`;
  const trigger = q(kind === 'guard' ? GUARD_TRIGGER : ARRIVAL_TRIGGER);
  return [
    // The owner's rights: the application's role may use neither our counters nor, perhaps, the
    // functions of the expression. Everything in it is qualified, so search_path is empty.
    `CREATE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
     SET search_path = pg_catalog, pg_temp AS
     ${quoteBody(`BEGIN\n${body.join('\n')}\nRETURN NEW;\nEND`)}`,
    ...tables.flatMap((table) => [
      `CREATE TRIGGER ${trigger} BEFORE INSERT OR UPDATE ON ${table} FOR EACH ROW
       ${when}EXECUTE FUNCTION ${name}()`,
      `ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${trigger}`,
    ]),
  ];
}

/**
 * Counts in a sequence, which survives a rollback and locks nobody out. By setval, since nextval would
 * change what the application's lastval() gives; of rows repaired at the same moment some may be missed.
 */
function countSql(kind: 'repairs' | 'misfits', plan: Plan): string {
  const sequence = `${quoteLiteral(`pgtandem.${ownName(kind, plan.table.oid)}`)}::pg_catalog.regclass`;
  return (
    `PERFORM pg_catalog.setval(${sequence}, ` +
    `COALESCE(pg_catalog.pg_sequence_last_value(${sequence}), 0) + 1);`
  );
}

/** Whether applications may write either column. */
const isEither = (side: Side): side is Side & { backward: NonNullable<Side['backward']> } =>
  side.change.kind === 'rename' && side.backward !== null;

const valueSql = (expression: Side['forward']) =>
  printExpression(expression, (column) => `NEW.${q(column)}`);

const forwardSql = (side: Side) => `NEW.${q(side.follow)} := ${valueSql(side.forward)};`;

/**
 * What a statement wrote, while the user's triggers have not seen it: an UPDATE of the follow column
 * alone, or an INSERT that gives it (it has no default), comes from an application that knows the
 * column by that name.
 */
const wroteFollow = (side: Side) =>
  `TG_OP = 'UPDATE' AND ${side.sameLeads('NEW.', 'OLD.')} ` +
  `AND NOT ${side.sameFollow('NEW.', 'OLD.')} ` +
  `OR TG_OP = 'INSERT' AND ${isSet(`NEW.${q(side.follow)}`)}`;

/**
 * A trigger that puts the lead back to what it was puts back the other one as well: what a change
 * that loses something would not give again.
 */
function followSql(side: Side): string {
  if (!side.misfit) return forwardSql(side);
  const follow = q(side.follow);
  return (
    `IF TG_OP = 'UPDATE' AND ${side.sameLeads('NEW.', 'OLD.')} THEN\n` +
    `NEW.${follow} := OLD.${follow};\nEND IF;\n` +
    `IF NOT ${side.holds('NEW.')} THEN ${forwardSql(side)} END IF;`
  );
}

/** Puts the row in order, from the follow column where that is what was written. */
function putInOrder(side: Side, wasFollow: string, plan: Plan): string {
  const count = countSql('repairs', plan);
  if (!isEither(side)) return `${count}\n${followSql(side)}`;
  const { lead, value } = side.backward;
  return (
    `${count}\nIF ${wasFollow} THEN NEW.${q(lead)} := ${valueSql(value)};\n` +
    `ELSE ${forwardSql(side)} END IF;`
  );
}

/**
 * The setting in which the first trigger notes the lead for the last one. A trigger may write to the
 * same table, so there is one for each depth. It is a hash, as every function that runs within the
 * same transaction can read it.
 */
const noteName = (i: number, plan: Plan) =>
  `'pgtandem.row_${plan.table.oid}_${i}_' || pg_catalog.pg_trigger_depth()`;
const noteValue = (lead: string) =>
  `pg_catalog.hashtextextended(ROW(NEW.${q(lead)})::pg_catalog.text, 0)::pg_catalog.text`;

/** Before the user's triggers: from here on both columns are the same. */
function arrivalBody(side: Side, i: number, plan: Plan): string {
  return (
    `IF NOT ${side.holds('NEW.')} THEN\n${putInOrder(side, wroteFollow(side), plan)}\nEND IF;\n` +
    `PERFORM pg_catalog.set_config(${noteName(i, plan)}, ${noteValue(side.backward!.lead)}, true);`
  );
}

function lastBody(side: Side, i: number, plan: Plan, moment: Moment): string {
  // Where the lead still is what it was on arrival, a trigger of the user's has changed the other.
  const wasFollow =
    plan.rowTriggers && isEither(side)
      ? `pg_catalog.current_setting(${noteName(i, plan)}, true) ` +
        `IS NOT DISTINCT FROM ${noteValue(side.backward.lead)}`
      : wroteFollow(side);
  const repair =
    moment === 'after' && side.change.source === null
      ? fillOnly(side, i, plan)
      : putInOrder(side, wasFollow, plan);
  return `IF NOT ${side.holds('NEW.')} THEN\n${repair}\nEND IF;\n${misfitBody(side, plan)}`;
}

/**
 * An up expression may make a value of NULL (a range of no bounds): then a new value whose other
 * column was not given looks like one that was there before, and so like one that does not fit.
 */
function misfitBody(side: Side, plan: Plan): string {
  if (!side.misfit) return '';
  const isMisfit = side.misfit('NEW.');
  const isKept = `TG_OP = 'UPDATE' AND ${side.sameLeads('NEW.', 'OLD.')}`;
  return (
    `IF ${isMisfit} THEN\nIF NOT (${isKept}) THEN ${forwardSql(side)} END IF;\n` +
    `IF ${isMisfit} THEN ${countSql('misfits', plan)}\n` +
    `ELSE ${countSql('repairs', plan)} END IF;\nEND IF;`
  );
}

/** After cutover an added column that the application wrote stays; a missing one is filled. */
function fillOnly(side: Side, i: number, plan: Plan): string {
  const isMissing = isNull(`NEW.${q(side.follow)}`);
  const isLeft = moves(side, plan, 'after') ? isKept(i, plan, isMissing) : isMissing;
  return (
    `IF TG_OP = 'INSERT' AND ${isLeft} OR TG_OP = 'UPDATE' AND ` +
    `${side.sameFollow('NEW.', 'OLD.')} AND NOT (${side.sameLeads('NEW.', 'OLD.')}) THEN\n` +
    `${countSql('repairs', plan)}\n${forwardSql(side)}\nEND IF;`
  );
}

/**
 * Whether a row that an UPDATE moves to another partition may come out of order: the user's triggers run for
 * the INSERT that this becomes too, in which an added column is given, whoever gave it.
 */
const moves = (side: Side, plan: Plan, moment: Moment): boolean =>
  moment === 'after' && side.change.source === null && plan.rowTriggers && plan.parts !== undefined;

/** Settings of the transaction; a trigger may write to the same table, so there is one for each depth. */
const moveName = (what: string, plan: Plan) =>
  `'pgtandem.${what}_${plan.table.oid}_' || pg_catalog.pg_trigger_depth()`;
const keptName = (i: number, plan: Plan) => moveName(`kept${i}`, plan);

/** SQL: of a row that moves, whether the UPDATE left the added column as it was; of any other `isMissing`. */
const isKept = (i: number, plan: Plan, isMissing: string) =>
  `(CASE pg_catalog.current_setting(${keptName(i, plan)}, true) ` +
  `WHEN 'true' THEN true WHEN 'false' THEN false ELSE ${isMissing} END)`;

/** Notes of an UPDATE whether it wrote the added columns. */
function keptBody(moving: readonly { side: Side; i: number }[], plan: Plan): string {
  const notes = moving.map(
    ({ side, i }) =>
      `PERFORM pg_catalog.set_config(${keptName(i, plan)}, ` +
      `(${side.sameFollow('NEW.', 'OLD.')})::pg_catalog.text, true);`,
  );
  return `IF TG_OP = 'UPDATE' THEN\n${notes.join('\n')}\nEND IF;`;
}

/** Notes how the row leaves an UPDATE: so it arrives, if it moves. */
const leavesBody = (plan: Plan) =>
  `IF TG_OP = 'UPDATE' THEN\nPERFORM pg_catalog.set_config(${moveName('leaves', plan)}, ` +
  `${rowHash(plan)}, true);\nEND IF;`;

/** Before the user's triggers: of an INSERT that is none of a row that moves nothing is noted. */
function movedBody(moving: readonly { i: number }[], plan: Plan): string {
  const leaves = moveName('leaves', plan);
  const forget = moving.map(
    ({ i }) => `PERFORM pg_catalog.set_config(${keptName(i, plan)}, '', true);`,
  );
  return (
    `IF TG_OP = 'INSERT' THEN\nIF pg_catalog.current_setting(${leaves}, true) ` +
    `IS DISTINCT FROM ${rowHash(plan)} THEN\n${forget.join('\n')}\nEND IF;\n` +
    `PERFORM pg_catalog.set_config(${leaves}, '', true);\nEND IF;`
  );
}

/**
 * The row, and the statement of the application: it tells that one arrives which has just left. A hash, since
 * every function of the transaction can read it.
 */
function rowHash(plan: Plan): string {
  const name = nameAt(plan, 'after');
  const names = [
    // PL/pgSQL has none of a generated column in an UPDATE, and in the INSERT of a row that moves the old one.
    ...plan.columns.filter(({ generated }) => !generated).map((column) => name(column.name)),
    ...plan.changes.map(({ shadow }) => shadow.after),
  ];
  const values = names.map((column) => `NEW.${q(column)}`).join(', ');
  return (
    `pg_catalog.hashtextextended(ROW(pg_catalog.statement_timestamp(), ${values})` +
    `::pg_catalog.text, 0)::pg_catalog.text`
  );
}

/** A function's body as a string constant. It is read in sessions with any standard_conforming_strings. */
export function quoteBody(body: string): string {
  return quoteLiteral(fromBytes(readByAll(toBytes(body)))).trimStart();
}
