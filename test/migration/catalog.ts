/**
 * Everything that a plain ALTER leaves in the catalogs, but for the column's place.
 * @param tables SQL that gives `relid` of each table, as regclass.
 */
export const catalogOf = (tables: string) => `
  WITH tree AS (${tables})
  SELECT relid::regclass::text AS of, 'column ' || a.attname AS what,
    concat_ws(' | ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attislocal, a.attinhcount,
      pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum)) AS how
  FROM tree JOIN pg_attribute a ON a.attrelid = relid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION ALL SELECT relid::regclass::text, 'index', concat_ws(' | ', pg_get_indexdef(i.indexrelid),
    i.indisvalid, inhparent::regclass,
    -- A plain ALTER copies the comment to the parts, which have none otherwise.
    CASE WHEN inhparent IS NULL THEN obj_description(i.indexrelid) END)
  FROM tree JOIN pg_index i ON i.indrelid = relid LEFT JOIN pg_inherits ON inhrelid = i.indexrelid
  UNION ALL SELECT relid::regclass::text, 'constraint ' || contype::text, pg_get_constraintdef(k.oid)
  FROM tree JOIN pg_constraint k ON k.conrelid = relid
  UNION ALL SELECT relid::regclass::text, 'trigger', tgname FROM tree JOIN pg_trigger ON tgrelid = relid
  UNION ALL SELECT '', 'own ' || c.relkind::text, c.relname FROM pg_class c
  WHERE c.relnamespace = 'pgtandem'::regnamespace AND c.relname ~ '_\\d+'
  UNION ALL SELECT '', 'own function', proname FROM pg_proc WHERE pronamespace = 'pgtandem'::regnamespace
  ORDER BY 1, 2, 3`;
