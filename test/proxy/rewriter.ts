import type { Edit, Resolution, Rewrite, StatementRewriter } from '../../sql/outcome.js';
import type { RuleSet, TableRule } from '../../sql/rules.js';

/**
 * A rewriter that understands markers, so that the relay can be tested without the real one: a
 * text that contains a table's name touches the table, and in such a text the comment `old`
 * becomes what the table's first pair is called, `refuse` refuses and `guard` guards.
 */
export class FakeRewriter implements StatementRewriter {
  readonly names: readonly string[];
  private readonly pattern: RegExp;
  calls = 0;

  constructor(readonly rules: RuleSet) {
    this.names = rules.tables.map((table) => table.name);
    this.pattern = new RegExp(this.names.join('|'), 'i');
  }

  mayTouch(text: Buffer): boolean {
    return this.pattern.test(text.toString('latin1'));
  }

  rewrite(text: Buffer, resolution: Resolution, plain: boolean): Rewrite {
    this.calls++;
    const latin1 = text.toString('latin1');
    const touched = this.rules.tables.filter(
      (table) => resolution.get(table.name) === table.oid && latin1.includes(table.name),
    );
    const base: Rewrite = {
      outcome: 'unchanged',
      text,
      touches: touched.map((table) => table.oid),
      reason: null,
      refusal: null,
      edits: [],
    };
    if (touched.length === 0) return base;
    if (!plain) return { ...base, outcome: 'guarded', reason: 'encoding' };
    if (latin1.includes('/*guard*/')) return { ...base, outcome: 'guarded', reason: 'marker' };
    if (latin1.includes('/*refuse*/')) {
      const refusal = { message: `refused for ${touched[0]!.name}`, hint: 'Ask again later.' };
      return { ...base, outcome: 'refused', reason: 'marker', refusal };
    }
    const start = latin1.indexOf('/*old*/');
    if (start < 0) return base;
    const inserted = touched[0]!.pairs[0]?.name ?? '';
    const end = start + '/*old*/'.length;
    const edit: Edit = { start, end, length: inserted.length, copies: [] };
    const rewritten = latin1.slice(0, start) + inserted + latin1.slice(end);
    return {
      ...base,
      outcome: 'rewritten',
      text: Buffer.from(rewritten, 'latin1'),
      edits: [edit],
    };
  }

  mapPosition(_original: Buffer, rewrite: Rewrite, position: number): number {
    let mapped = position;
    for (const edit of rewrite.edits) {
      if (position - 1 >= edit.start + edit.length) mapped += edit.end - edit.start - edit.length;
      else if (position - 1 >= edit.start) mapped = edit.start + 1;
    }
    return mapped;
  }
}

/** A table rule for tests: `insertion` is what the marker becomes. */
export function tableRule(
  oid: number,
  name: string,
  insertion: string,
  more: Partial<TableRule> = {},
): TableRule {
  return {
    oid,
    schema: 'public',
    name,
    version: 1,
    held: false,
    guard: 'repair',
    columns: [],
    visible: [],
    pairs: [
      {
        name: insertion,
        follow: '',
        forward: { texts: [''], columns: [] },
        backward: null,
        everyUpdate: true,
      },
    ],
    ...more,
  };
}
