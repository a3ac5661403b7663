import type { Words } from './words.js';

/** A random query of the table; `ordered`: its rows come in a certain order. */
export function query(w: Words): { text: string; ordered: boolean } {
  const isOnly = w.world.children.length > 0 && w.random.chance(0.2);
  const t = `${isOnly ? 'ONLY ' : ''}${w.table()}`;
  const v = w.lead;
  const text = w.random.pick([
    `SELECT * FROM ${t} ORDER BY id`,
    `SELECT z.* FROM ${t} z ORDER BY 1`,
    `SELECT *, z.n + 1 AS m FROM ${t} AS z WHERE n IS NOT NULL ORDER BY z.id`,
    `SELECT * FROM ${t} z JOIN items i ON i.n = z.n ORDER BY z.id, i.n`,
    `SELECT i.*, z.* FROM items i LEFT JOIN ${t} z ON z.n = i.n ORDER BY i.n, z.id`,
    `TABLE ${t} ORDER BY id`,
    `SELECT * FROM (SELECT * FROM ${t}) s ORDER BY id`,
    `SELECT * FROM ${t} WHERE id < 3 UNION ALL SELECT * FROM ${t} WHERE id > 300 ORDER BY id`,
    `WITH w AS (SELECT * FROM ${t}) SELECT * FROM w ORDER BY id`,
    `WITH w AS MATERIALIZED (TABLE ${t}) SELECT w.*, count(*) OVER () FROM w ORDER BY id LIMIT 3`,
    `SELECT * FROM ${t} WHERE id IN (SELECT id FROM ${t}) AND EXISTS (SELECT * FROM ${t}) ORDER BY id`,
    `SELECT * FROM ${t} GROUP BY id ORDER BY id`,
    `SELECT count(*), max(id), count(${v}) FROM ${t}`,
    `SELECT a.*, b.* FROM ${t} a, ${t} b WHERE a.id = b.id ORDER BY a.id`,
    `SELECT *, nothing FROM ${t}`,
    `SELECT ${v} AS a, id FROM ${t} WHERE ${v} IS NOT NULL ORDER BY id DESC`,
    `SELECT (SELECT s.note FROM (SELECT z.*) s) FROM ${t} z ORDER BY z.id`,
    `SELECT * FROM ${t} p(a, b)`,
    `SELECT b, count(*) OVER () FROM ${t} p(a, b) WHERE a IS NOT NULL`,
    `SELECT * FROM items, LATERAL (SELECT * FROM ${t} y WHERE y.n = items.n) l ORDER BY id, items.n`,
    `SELECT DISTINCT ON (n) * FROM ${t} ORDER BY n, id`,
    `SELECT note, ${v} FROM ${t} WHERE id = ${w.key()} FOR UPDATE`,
    `SELECT * FROM ${t} TABLESAMPLE system (100) ORDER BY id`,
    `SELECT x.* FROM ${t} x NATURAL JOIN o ORDER BY 1, o.x`,
    `SELECT * FROM ${t} JOIN o USING (id) ORDER BY id`,
    `SELECT * FROM seen ORDER BY id`,
    `SELECT z FROM ${t} z ORDER BY id`,
    `SELECT id, z::text FROM ${t} z WHERE z IS NOT NULL ORDER BY id`,
    `SELECT a.id, a = b AS same FROM ${t} a JOIN ${t} b ON a IS NOT DISTINCT FROM b ORDER BY a.id`,
    `SELECT count(*) FROM ${t} z WHERE z IS NULL`,
    `SELECT row_to_json(z) FROM ${t} z WHERE id = 1`,
    `SELECT a.id, b.*::text, to_jsonb(b) FROM ${t} a LEFT JOIN ${t} b ON b.n = a.id ORDER BY a.id, b.id`,
    `SELECT a, b FROM ${t} a FULL JOIN ${t} b ON b.n = a.id ORDER BY a.id, b.id`,
    `SELECT json_agg(z ORDER BY id), count(z) FROM ${t} z`,
    `SELECT z.id, to_json(z) FROM ${t} z GROUP BY id ORDER BY id`,
    `SELECT (z).*, ROW (z.*, 1) FROM ${t} z ORDER BY id`,
    `SELECT pg_typeof(${v})::text, ${v} FROM ${t} WHERE id = 2`,
    `SELECT * FROM ${t} z WHERE z.id = ${w.key()}`,
    `SELECT ${v} FROM ${t} EXCEPT SELECT ${v} FROM ${t} WHERE id > 3`,
    `SELECT 1`,
    `SELECT * FROM nowhere`,
    `VALUES ((SELECT max(id) FROM ${t}), 2)`,
  ]);
  return { text, ordered: /ORDER BY/.test(text) };
}
