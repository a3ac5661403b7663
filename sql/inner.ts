import { columnOf, type Fragment } from './fragment.js';
import type { PreparedTable } from './prepared.js';
import { type ByteString, toBytes } from './tree.js';

/** What is ours is called so in the text that is sent; nothing of the client's is. */
export const ONCE = 'pgtandem';

/** A reference to what the client wrote somewhere: an error about it is shown there; below 0: nowhere. */
export function placed(reference: Fragment, from: number | undefined): Fragment {
  if (from === undefined) return reference;
  if (from < 0) return nowhere(reference);
  return { ...reference, copies: [{ at: 0, from, length: 1 }] };
}

/** A reference to a column of `TABLE x`, or of a VALUES list that is a query: the server knows of no place. */
export function nowhere(reference: Fragment): Fragment {
  return { ...reference, copies: [{ at: 0, from: -1, length: reference.text.length }] };
}

/** What is evaluated once, and under which name it comes out. */
export class Inner {
  readonly outputs: { column: ByteString; name: ByteString; value: Fragment }[] = [];
  private readonly references = new Map<ByteString, Fragment>();

  has(column: ByteString): boolean {
    return this.references.has(column);
  }

  /** A value that was put in before. */
  reference(column: ByteString): Fragment {
    const reference = this.references.get(column);
    if (!reference) throw new RangeError(`${column} is not evaluated once`);
    return reference;
  }

  /** The value from outside; `value` is put in at its first use. */
  output(column: ByteString, value: Fragment): Fragment {
    if (!this.has(column)) {
      const name = `${ONCE} ${this.references.size + 1}`;
      const reference = placed(columnOf([ONCE], name), value.copies[0]?.from);
      this.references.set(column, reference);
      this.outputs.push({ column, name, value });
    }
    return this.reference(column);
  }

  /** In the order in which the server computes them: that of the table's columns. */
  sort(table: PreparedTable): void {
    const order = table.rule.columns.map((rule) => toBytes(rule.name));
    this.outputs.sort((a, b) => order.indexOf(a.column) - order.indexOf(b.column));
  }
}

/** Whether an expression refers to something of that name. */
export function refersTo(value: unknown, name: ByteString): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if ('fields' in value && Array.isArray(value.fields)) {
    const [first] = value.fields;
    return first?.String?.sval === name;
  }
  if ('relname' in value && value.relname === name) return true;
  return Object.values(value).some((child) => refersTo(child, name));
}
