import type { CopyField, CopyRows } from '../../sql/copy-rows.js';

/** A field that is added: what another one is, or a constant. */
export function added(from: number | null, more: Partial<CopyField> = {}): CopyField {
  return {
    column: 'new',
    heading: 'new',
    from,
    constant: 'K',
    integer: null,
    printed: null,
    ...more,
  };
}

/** Rows of three fields, whose second is given twice. */
export function layout(more: Partial<CopyRows>): CopyRows {
  return {
    table: 'orders',
    format: 'text',
    delimiter: '\t',
    quote: '"',
    escapeBy: '"',
    nullText: '\\N',
    defaultText: null,
    header: 'none',
    unsure: '\\N',
    fields: 3,
    added: [added(1)],
    ...more,
  };
}
