import { Asking } from './asking.js';
import type { Answer, Ask } from './messages.js';

/** Answers a question of the keeper, or of another worker; null: not known here. */
export type Answerer = (payload: unknown) => unknown;

/** What a worker has of the others: it asks all of them at once, by way of the keeper. */
export class Peers {
  private readonly answerers = new Map<string, Answerer>();
  private readonly asking: Asking;

  /** @param send to the keeper; all that goes is JSON. */
  constructor(private readonly send: (message: Ask | Answer) => void) {
    this.asking = new Asking(send);
  }

  /**
   * Asks every other worker of this proxy, those that are being drained too.
   * Never throws. @returns the first answer that is not null; null when nobody knows in time.
   */
  ask(topic: string, payload: unknown, timeoutMs = 1_000): Promise<unknown> {
    return this.asking.ask(topic, payload, timeoutMs);
  }

  /** Says who answers questions of a topic in this process; a promise is waited for. */
  answer(topic: string, answerer: Answerer): void {
    this.answerers.set(topic, answerer);
  }

  /** A message has come from the keeper. */
  received(message: Ask | Answer): void {
    if (message.kind === 'answer') this.asking.answered(message);
    else void this.reply(message);
  }

  private async reply({ id, topic, payload }: Ask): Promise<void> {
    let value: unknown = null;
    try {
      value = (await this.answerers.get(topic)?.(payload)) ?? null;
    } catch {
      // Who asks is told that it is not known here; the answerer logs what it has to say.
    }
    this.send({ kind: 'answer', id, value });
  }
}
