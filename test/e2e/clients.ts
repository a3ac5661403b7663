import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';

/** A client that stays, and tells how it was ended. */
export interface Guest {
  client: pg.Client;
  /** The server's last words, or the driver's. */
  ended: Promise<Error & { code?: string }>;
  /** What it was told besides answers. */
  notices: { code: string | undefined; message: string | undefined }[];
  /** Whether it has been ended. */
  gone(): boolean;
}

export async function guest(url: string, name = 'guest'): Promise<Guest> {
  const client = new pg.Client({ connectionString: url, application_name: name });
  let gone = false;
  const ended = new Promise<Error>((resolve) => {
    client.on('error', (error) => {
      gone = true;
      resolve(error);
    });
  });
  const notices: Guest['notices'] = [];
  client.on('notice', ({ code, message }) => notices.push({ code, message }));
  await client.connect();
  return { client, ended, notices, gone: () => gone };
}

/**
 * Connects, asks one thing and goes, one time after the other, so many at once.
 * @returns what went wrong, by message, and how often it went well.
 */
export function hammer(url: string, atOnce: number) {
  const failed = new Map<string, number>();
  let done = 0;
  let running = true;
  const loops = Array.from({ length: atOnce }, async () => {
    while (running) {
      const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
      client.on('error', () => undefined);
      try {
        await client.connect();
        const { rows } = await client.query('SELECT 42 AS answer');
        if (rows[0].answer !== 42) throw new Error('the answer is wrong');
        done++;
        await client.end();
      } catch (error) {
        const { code, message } = error as Error & { code?: string };
        const what = `${code}: ${message}`;
        failed.set(what, (failed.get(what) ?? 0) + 1);
        await delay(5);
      }
    }
  });
  return {
    done: () => done,
    failed,
    /** Waits until so many more have gone well. */
    async more(count: number, ms = 20_000): Promise<void> {
      const until = done + count;
      const deadline = Date.now() + ms;
      while (done < until) {
        if (Date.now() > deadline) throw new Error(`stuck: ${JSON.stringify([...failed])}`);
        await delay(5);
      }
    },
    async stop(): Promise<void> {
      running = false;
      await Promise.all(loops);
    },
  };
}

/** Waits until something is so. @throws Error after `ms`, with `what`. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  ms = 15_000,
): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`timed out: ${what}`);
    await delay(20);
  }
}

/** Whether there is a process with this id. */
export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
