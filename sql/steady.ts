const COMMENT = String.raw`--[^\n\r]*[\n\r]|/\*(?:(?!/\*|\*/)[^])*\*/`;
const STEADY = new RegExp(
  `^(?:\\s|${COMMENT})*(?:select|insert|update|delete|merge|values|table|with|begin|start|savepoint|` +
    'release|commit|end|rollback|abort|fetch|move|close|copy|declare|prepare|listen|notify|' +
    'unlisten|show|lock)\\b',
  'i',
);
const SEVERAL = /;(?!\s*$)/;
const INTO = /(?<!\b(?:insert|merge)\s{1,20})\binto\b/i;
/** One by one: the engine looks for a single word many times as fast as for one of several. */
const NAMES = [/search_path/i, /set_config/i, /\bpg_temp\b/i];
const TRANSACTION_END = new RegExp(
  `^(?:\\s|${COMMENT})*(?:commit|end|rollback|abort|release)\\b`,
  'i',
);

/**
 * Whether a statement may change what a name means in its session: by search_path, by temporary
 * or other relations made or dropped, by the role. What is not known to be harmless may.
 * @param text bytes as latin1.
 */
export function mayChangeNames(text: string): boolean {
  if (!STEADY.test(text) || isSeveral(text) || INTO.test(text)) return true;
  return text.includes('_') && NAMES.some((name) => name.test(text));
}

/** Whether what a transaction changed may be undone or lost by this statement. */
export function endsTransaction(text: string): boolean {
  return TRANSACTION_END.test(text);
}

/** Whether a statement has a second one behind it (or only a `;` that looks like it). */
export function isSeveral(text: string): boolean {
  return text.includes(';') && SEVERAL.test(text);
}
