import type { Statement } from './statements.js';

/** What a session's portals were bound from, while rules are in force. */
export class Portals {
  /** Apart from the others, since nearly every Bind is of this one. */
  private unnamed: Statement | undefined;
  private readonly named = new Map<string, Statement>();

  /** @param statement undefined: nothing is known of the portal. */
  set(portal: string, statement: Statement | undefined): void {
    if (portal === '') this.unnamed = statement;
    else if (statement) this.named.set(portal, statement);
    else this.named.delete(portal);
  }

  get(portal: string): Statement | undefined {
    return portal === '' ? this.unnamed : this.named.get(portal);
  }

  clear(): void {
    this.unnamed = undefined;
    // Emptying a map that is empty makes a new table all the same.
    if (this.named.size > 0) this.named.clear();
  }
}
