import type { A_Expr, FuncCall, Node, TypeName } from 'libpg-query';
import { strings } from './tree.js';

/*
 * Which expressions may be written twice. Everything that is not known is taken for volatile: it
 * is evaluated once, or left to the guard. An unqualified name could mean a function or operator
 * of the user's with better fitting arguments; the guard would see a difference. Where there is
 * no guard (`strict`) only names that say pg_catalog count.
 */

/** Immutable or stable functions of pg_catalog that return one value. */
const STABLE = new Set(
  `abs age array_append array_cat array_length array_prepend array_remove array_replace
  array_to_string ascii btrim cardinality cbrt ceil ceiling char_length character_length chr
  concat concat_ws convert_from convert_to date_bin date_part date_trunc decode degrees div encode
  exp extract floor format gcd hashtext initcap json_build_array json_build_object jsonb_build_array
  jsonb_build_object jsonb_set jsonb_strip_nulls json_strip_nulls lcm left length ln log log10 lower
  lpad ltrim make_date make_interval make_time make_timestamp make_timestamptz md5 mod normalize now
  octet_length overlay pi position power quote_ident quote_literal quote_nullable radians
  regexp_replace repeat replace reverse right round rpad rtrim scale sha224 sha256 sha384 sha512
  sign split_part sqrt starts_with statement_timestamp string_to_array strpos substr substring
  timezone to_char to_date to_hex to_json to_jsonb to_number to_timestamp transaction_timestamp
  translate trim_scale trunc upper`.split(/\s+/),
);

/** Functions known to return exactly one value, and a new one each time or with an effect. */
const VOLATILE = new Set(
  `clock_timestamp crypt currval gen_random_bytes gen_random_uuid gen_salt lastval nextval
  pg_backend_pid pg_current_xact_id random setval timeofday txid_current uuid_generate_v1
  uuid_generate_v1mc uuid_generate_v4 uuidv4 uuidv7`.split(/\s+/),
);

/** Types whose casts are the server's own. */
const TYPES = new Set(
  `bit bool bpchar bytea char cidr date float4 float8 inet int2 int4 int8 interval json jsonb
  macaddr macaddr8 money name numeric oid regclass text time timestamp timestamptz timetz uuid
  varbit varchar xml int4range int8range numrange tsrange tstzrange daterange point`.split(/\s+/),
);

const AGGREGATES = new Set(
  `any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp
  every json_agg json_object_agg jsonb_agg jsonb_object_agg max min mode percentile_cont
  percentile_disc range_agg range_intersect_agg regr_slope stddev stddev_pop stddev_samp string_agg
  sum var_pop var_samp variance xmlagg`.split(/\s+/),
);

/** Functions of the server's that give a row, many values, or what depends on other rows. */
const OTHERS = new Set(
  `cume_dist dense_rank first_value generate_series generate_subscripts json_array_elements
  json_array_elements_text json_each json_each_text jsonb_array_elements jsonb_array_elements_text
  jsonb_each jsonb_each_text lag last_value lead nth_value ntile percent_rank rank row_number
  row_to_json unnest`.split(/\s+/),
);

/** Whether a call, by its name, is of an aggregate of the server's. */
export const isAggregate = (name: string): boolean => AGGREGATES.has(name);

/** Whether a call, by its name, is one of the server's that alters no table. */
export function isKnownCall(name: string): boolean {
  return [STABLE, VOLATILE, AGGREGATES, OTHERS].some((known) => known.has(name));
}

const OPERATORS = new Set(
  `+ - * / % ^ || = <> != < > <= >= & | # ~ << >> ~~ !~~ ~~* !~~* ~* !~ !~* @ |/ ||/ -> ->> #> #>>
  @> <@ ? ?| ?& #- &&`.split(/\s+/),
);

const CALLS = ['func_variadic', 'location', 'funcformat', 'args', 'funcname'];

interface Rules {
  /** The target column's own type, to which a cast is as safe as the assignment itself. */
  type: TypeName | undefined;
  /** Unqualified function names are not trusted. */
  strict: boolean;
  /** Whether functions and subselects that may only be evaluated once pass too. */
  once: boolean;
}

/** Whether evaluating the expression twice for a column of `type` gives one value, no effect. */
export function isRepeatable(node: Node, type: TypeName, strict: boolean): boolean {
  return passes(node, { type, strict, once: false });
}

/**
 * Whether the expression is one that a plain SELECT computes as a VALUES list does: one value a
 * row, no aggregate, no set-returning function.
 */
export function isScalar(node: Node): boolean {
  return passes(node, { type: undefined, strict: false, once: true });
}

function passes(node: Node | undefined, rules: Rules): boolean {
  if (!node) return true;
  const all = (nodes: readonly (Node | undefined)[] | undefined) =>
    (nodes ?? []).every((child) => passes(child, rules));
  if ('A_Const' in node || 'ParamRef' in node || 'SQLValueFunction' in node) return true;
  // With a star it is the whole row, as one value.
  if ('ColumnRef' in node) return true;
  if ('TypeCast' in node) {
    const { arg, typeName } = node.TypeCast;
    return passes(arg, rules) && (isBuiltIn(typeName) || isOwn(typeName, rules.type));
  }
  if ('A_Expr' in node) return operatorPasses(node.A_Expr) && all(operands(node.A_Expr));
  if ('List' in node) return all(node.List.items);
  if ('BoolExpr' in node) return all(node.BoolExpr.args);
  if ('NullTest' in node) return passes(node.NullTest.arg, rules);
  if ('BooleanTest' in node) return passes(node.BooleanTest.arg, rules);
  if ('CoalesceExpr' in node) return all(node.CoalesceExpr.args);
  if ('MinMaxExpr' in node) return all(node.MinMaxExpr.args);
  if ('A_ArrayExpr' in node) return all(node.A_ArrayExpr.elements);
  if ('CollateClause' in node) return passes(node.CollateClause.arg, rules);
  if ('CaseExpr' in node) {
    const { arg, args, defresult } = node.CaseExpr;
    return all([arg, defresult]) && all(args);
  }
  if ('CaseWhen' in node) return all([node.CaseWhen.expr, node.CaseWhen.result]);
  if ('RowExpr' in node) return all(node.RowExpr.args);
  if ('A_Indirection' in node) {
    const { arg, indirection } = node.A_Indirection;
    return passes(arg, rules) && all(indirection);
  }
  // A field could be the call of a function; a subscript is no more than it says.
  if ('A_Indices' in node) return all([node.A_Indices.lidx, node.A_Indices.uidx]);
  if ('FuncCall' in node) return callPasses(node.FuncCall, rules) && all(node.FuncCall.args);
  if ('SubLink' in node) {
    const kind = node.SubLink.subLinkType;
    return rules.once && (kind === 'EXPR_SUBLINK' || kind === 'EXISTS_SUBLINK');
  }
  return false;
}

function operands(expression: A_Expr): (Node | undefined)[] {
  return [expression.lexpr, expression.rexpr];
}

function operatorPasses(expression: A_Expr): boolean {
  const names = strings(expression.name);
  const name = names.at(-1);
  if (expression.kind?.startsWith('AEXPR_BETWEEN') || expression.kind?.startsWith('AEXPR_NOT_B')) {
    return true;
  }
  const qualified = names.length === 1 || (names.length === 2 && names[0] === 'pg_catalog');
  return qualified && typeof name === 'string' && OPERATORS.has(name);
}

function callPasses(call: FuncCall, rules: Rules): boolean {
  // agg_filter, agg_order, agg_star, over and the like: not a plain call.
  if (Object.keys(call).some((key) => !CALLS.includes(key))) return false;
  const names = strings(call.funcname);
  const name = names.at(-1);
  const qualified = names.length === 2 && names[0] === 'pg_catalog';
  if (typeof name !== 'string') return false;
  if (STABLE.has(name) && (qualified || (names.length === 1 && !rules.strict))) return true;
  if (!rules.once) return false;
  return (STABLE.has(name) || VOLATILE.has(name)) && names.length <= 2;
}

export function isBuiltIn(type: TypeName | undefined): boolean {
  const names = strings(type?.names);
  const name = names.at(-1);
  if (typeof name !== 'string' || !TYPES.has(name) || type?.setof) return false;
  return names.length === 1 || (names.length === 2 && names[0] === 'pg_catalog');
}

/** Whether a cast names the column's own type, as it stands in the rule or without its schema. */
function isOwn(type: TypeName | undefined, own: TypeName | undefined): boolean {
  const names = strings(type?.names);
  const ours = strings(own?.names);
  return (
    ours.length > 0 && names.length > 0 && names.join('.') === ours.slice(-names.length).join('.')
  );
}

/**
 * Whether the expression has what only a SELECT may have: a window function, or an aggregate that
 * is written as one. In VALUES and SET the server refuses it.
 */
export function isOfSelect(node: Node): boolean {
  const visit = (value: unknown): boolean => {
    if (typeof value !== 'object' || value === null) return false;
    return Object.entries(value).some(([key, child]) => {
      if (key === 'SubLink') return false;
      if (key === 'GroupingFunc') return true;
      const plain = key !== 'FuncCall' || Object.keys(child).every((part) => CALLS.includes(part));
      return !plain || visit(child);
    });
  };
  return visit(node);
}

/** Whether a value has no type of its own: it takes that of the place where it stands. */
export function isUntyped(node: Node): boolean {
  if ('CollateClause' in node) return !node.CollateClause.arg || isUntyped(node.CollateClause.arg);
  if ('ParamRef' in node) return true;
  return 'A_Const' in node && (node.A_Const.isnull === true || 'sval' in node.A_Const);
}

const NUMERIC = /^(smallint|integer|bigint|numeric|real|double precision|money|oid)$/;
const TEXTUAL = /^(text|character varying|bpchar|character|name)$/;

/**
 * Whether a constant that has a type of its own can be cast to a column's type, as far as that is
 * known: of a type of the user's the server has to say it.
 */
export function fitsConstant(node: Node, type: TypeName, baseType: string): boolean {
  if (!('A_Const' in node) || node.A_Const.isnull || 'sval' in node.A_Const) return true;
  if (!isBuiltIn(type) || TEXTUAL.test(baseType)) return true;
  if ('ival' in node.A_Const || 'fval' in node.A_Const) return NUMERIC.test(baseType);
  if ('boolval' in node.A_Const) return baseType === 'boolean';
  return /^"?bit/.test(baseType);
}
