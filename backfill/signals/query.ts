import type pg from 'pg';
import type { Probe } from './source.js';

/** What the user asks himself: the first value of the first row, a number. */
export const query = (): Probe<number> => ({
  name: 'query',
  level: 'hard',
  wanted: (settings) => settings.query !== null,
  key: (settings) => settings.query ?? '',
  async ask(settings, connection) {
    // The extended protocol takes one statement and no more.
    const config = { text: settings.query!, rowMode: 'array', queryMode: 'extended' };
    const { rows } = await (await connection()).query(config as pg.QueryArrayConfig);
    const value = rows[0]?.[0];
    const number = value === null || value === undefined ? Number.NaN : Number(value);
    if (Number.isNaN(number)) throw new Error(`it gives ${value ?? 'NULL'}, which is no number`);
    return number;
  },
  judge(value, { queryMax }) {
    const detail = `the throttle query gives ${value} (limit ${queryMax})`;
    return [{ subject: 'query', observed: value, threshold: queryMax, detail }];
  },
});
