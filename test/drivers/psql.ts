import { spawn } from 'node:child_process';
import type { Phase } from './phases.js';
import type { Subject } from './subject.js';
import { versionOf } from './toolchains.js';

/** Runs a command to its end, without blocking the others. @throws Error with what it has said. */
export async function output(
  command: string,
  args: readonly string[],
  input = '',
  env: Record<string, string> = {},
): Promise<{ stdout: string; stderr: string }> {
  const child = spawn(command, args, { env: { ...process.env, ...env } });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', (error) => {
    stderr += error.message;
  });
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${stderr.trim().slice(0, 1000)}`);
  return { stdout, stderr };
}

/** One script for each phase, each in a session of its own. */
export class Psql implements Subject {
  readonly name = 'psql';
  readonly version = versionOf('psql');

  constructor(private readonly url: string) {}

  async exercise({ name, column, star, wide }: Phase): Promise<string[]> {
    const tag = `psql ${name}`;
    const big = wide ? '3000000000' : '30';
    const script = `
\\set ON_ERROR_STOP on
INSERT INTO orders (amount, ${column}) VALUES (7, '${tag}') RETURNING id \\gset
SELECT * FROM orders WHERE id = :id;
\\copy orders (amount, ${column}) FROM STDIN
8	${tag}
\\N	${tag}
\\.
\\copy (SELECT amount FROM orders WHERE ${column} = '${tag}' ORDER BY 1) TO STDOUT
\\copy orders TO PROGRAM 'grep "^1\t"'
\\pset tuples_only on
BEGIN;
UPDATE orders SET amount = 100 WHERE id = :id;
SAVEPOINT s;
\\set ON_ERROR_STOP off
INSERT INTO orders (amount, ${column}) VALUES (1, NULL);
\\echo sqlstate :LAST_ERROR_SQLSTATE
\\set ON_ERROR_STOP on
ROLLBACK TO s;
SELECT 'in', amount FROM orders WHERE id = :id;
ROLLBACK;
UPDATE orders SET amount = ${big} WHERE id = :id RETURNING 'big', amount;
DELETE FROM orders WHERE id = :id;
PREPARE up (int) AS UPDATE orders SET amount = amount + 1 WHERE ${column} = '${tag}' AND amount = $1;
EXECUTE up (8);
SELECT 'nine', amount FROM orders WHERE ${column} = '${tag}' AND amount IS NOT NULL;
\\set FETCH_COUNT 100
SELECT 'seed', amount FROM orders WHERE ${column} = 'seed' ORDER BY id;
DO $$ BEGIN UPDATE orders SET amount = 10 WHERE ${column} = '${tag}' AND amount = 9; END $$;
`;
    const { stdout } = await output('psql', [this.url, '-X', '-q', '-A'], script);
    const wants = [
      `${star.join('|')}\n`,
      `|7|${tag}|\n`,
      `7\n8\n\\N\n`,
      '1\t1\tseed\t\\N\n',
      'sqlstate 23502\n',
      'in|100\n',
      `big|${big}\n`,
      'nine|9\n',
      'seed|2000\n',
    ];
    for (const want of wants) {
      if (!stdout.includes(want)) throw new Error(`no ${want.trim()} in ${stdout.slice(0, 400)}`);
    }
    return ['simple', '\\copy', 'savepoint', 'SQLSTATE', 'wide', 'PREPARE', 'FETCH_COUNT', 'DO'];
  }

  async end(): Promise<void> {}
}
