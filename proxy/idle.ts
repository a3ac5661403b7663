/** What is looked at of a session: a number while it is idle, another one after each use. */
export interface Idler {
  readonly idleMark: number | null;
}

/**
 * Finds the sessions that have been idle for long, by looking at all of them now and then, so that
 * a session has nothing to do for it while it works. Pure; times are the caller's clock.
 */
export class IdleWatch<Session extends Idler> {
  private seen = new Map<Session, { mark: number; since: number }>();

  /** @returns those that have been idle, at each look, for `limitMs` or more. */
  look(sessions: Iterable<Session>, now: number, limitMs: number): Session[] {
    const seen = new Map<Session, { mark: number; since: number }>();
    const long: Session[] = [];
    for (const session of sessions) {
      const mark = session.idleMark;
      if (mark === null) continue;
      const before = this.seen.get(session);
      const since = before?.mark === mark ? before.since : now;
      seen.set(session, { mark, since });
      if (now - since >= limitMs) long.push(session);
    }
    this.seen = seen;
    return long;
  }
}
