/** An error that is the user's to mend: it says where, what and what to do, and nothing was changed. */
export class UserError extends Error {
  override readonly name = 'UserError';

  /**
   * @param message what is wrong.
   * @param hint what to do about it.
   * @param where file and line, e.g. `orders.sql:3`, when it is in a file.
   */
  constructor(
    message: string,
    readonly hint: string,
    readonly where: string | null = null,
  ) {
    super(message);
  }

  /** All of it, for a terminal. */
  override toString(): string {
    const at = this.where === null ? '' : `${this.where}: `;
    return `${at}${this.message}\n  hint: ${this.hint}`;
  }
}

/** Several things that are wrong with one migration; told together, so that they are mended together. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';

  constructor(readonly refusals: readonly UserError[]) {
    super(refusals.map((refusal) => refusal.toString()).join('\n'));
  }
}
