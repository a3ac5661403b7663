import { type Connection, transaction } from './connect.js';

/** Version of the layout below; raised by one with each change, with a step in `UPGRADES`. */
export const SCHEMA_VERSION = 3;

/** NOTIFY channel on which rules, requests and acknowledgements are announced. */
export const CHANNEL = 'pgtandem';

/**
 * Our schema in the user's database: everything that proxies share, and nothing else. The phase
 * of a migration, the rule set and the checkpoint of the backfill are each written in the
 * transaction that makes them true.
 */
const LAYOUT = `
CREATE SCHEMA IF NOT EXISTS pgtandem;
COMMENT ON SCHEMA pgtandem IS 'State of pgtandem, the online schema change proxy.';
GRANT USAGE ON SCHEMA pgtandem TO PUBLIC;

CREATE TABLE IF NOT EXISTS pgtandem.layout (version integer NOT NULL);

-- A migration. definition and plan never change; phase is a sum type with what it needs to go on.
CREATE TABLE IF NOT EXISTS pgtandem.migration (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name        text NOT NULL,
  definition  jsonb NOT NULL,
  plan        jsonb NOT NULL,
  phase       jsonb NOT NULL,
  -- What the rule set says of the table: see migration/stage.ts.
  stage       jsonb NOT NULL DEFAULT '{"name": "none", "held": false, "version": 0}',
  paused      text,
  settings    jsonb NOT NULL,
  -- The latest of backfill, drain and cutover, for people; nothing is decided by it.
  progress    jsonb NOT NULL DEFAULT '{}',
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX IF NOT EXISTS migration_name ON pgtandem.migration (name);

-- What happened, one row for each event of a migration; kept after it has ended.
CREATE TABLE IF NOT EXISTS pgtandem.history (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  migration_id bigint NOT NULL REFERENCES pgtandem.migration ON DELETE CASCADE,
  at           timestamptz NOT NULL DEFAULT clock_timestamp(),
  event        text NOT NULL,
  from_phase   text NOT NULL,
  to_phase     text NOT NULL,
  detail       text
);

-- The rule set in force: one row.
CREATE TABLE IF NOT EXISTS pgtandem.rules (
  singleton    boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  epoch        bigint NOT NULL,
  rule_set     jsonb NOT NULL,
  published_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO pgtandem.rules (epoch, rule_set) VALUES (0, '{"epoch":0,"tables":[]}')
ON CONFLICT DO NOTHING;

-- The live proxies: a lease that each renews, and the epoch that each has acknowledged.
CREATE TABLE IF NOT EXISTS pgtandem.proxy (
  id          uuid PRIMARY KEY,
  address     text NOT NULL,
  version     text NOT NULL,
  started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease_until timestamptz NOT NULL,
  epoch       bigint NOT NULL
);

-- Up to when it has told what it has seen (pgtandem.seen).
ALTER TABLE pgtandem.proxy ADD COLUMN IF NOT EXISTS seen_at timestamptz;

-- How long requests took that touched a table, counted by oid and bucket since the proxy began.
ALTER TABLE pgtandem.proxy ADD COLUMN IF NOT EXISTS latency jsonb;
ALTER TABLE pgtandem.proxy ADD COLUMN IF NOT EXISTS latency_at timestamptz;

-- Tables whose statements are recorded although they are not under migration.
CREATE TABLE IF NOT EXISTS pgtandem.observed (
  table_oid oid PRIMARY KEY,
  since     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Statements that the proxies have seen on a table, without their values, by who sent them. named:
-- columns of a migration that it names; NULL: not known.
CREATE TABLE IF NOT EXISTS pgtandem.seen (
  table_oid   oid NOT NULL,
  key         text NOT NULL,
  statement   text NOT NULL,
  whole       boolean NOT NULL,
  outcome     text NOT NULL,
  reason      text,
  named       text[],
  application text NOT NULL,
  role        text NOT NULL,
  count       bigint NOT NULL,
  first_seen  timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_seen   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (table_oid, key)
);

-- Checkpoint of a backfill, written in the transaction of each chunk.
CREATE TABLE IF NOT EXISTS pgtandem.backfill (
  migration_id bigint PRIMARY KEY REFERENCES pgtandem.migration ON DELETE CASCADE,
  relfilenode  oid NOT NULL,
  pass         integer NOT NULL,
  next_block   bigint NOT NULL,
  end_block    bigint NOT NULL,
  rows_filled  bigint NOT NULL,
  started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Standbys that have been seen: one that disappears stops a backfill until it is forgotten.
CREATE TABLE IF NOT EXISTS pgtandem.standby (
  name       text PRIMARY KEY,
  first_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_seen  timestamptz NOT NULL DEFAULT clock_timestamp()
);
`;

/** Makes our schema, or brings it to this version. Safe to run at any time, by several at once. */
export async function installSchema(connection: Connection): Promise<void> {
  await transaction(connection, async () => {
    await connection.query(`SELECT pg_advisory_xact_lock(hashtext('pgtandem.layout'))`);
    const before = await layoutVersion(connection);
    if (before > SCHEMA_VERSION) {
      throw new Error(
        `The schema pgtandem in this database has version ${before}; this pgtandem knows ` +
          `${SCHEMA_VERSION}. Use the newer pgtandem that made it.`,
      );
    }
    if (before === SCHEMA_VERSION) return;
    await connection.query(LAYOUT);
    await connection.query('DELETE FROM pgtandem.layout');
    await connection.query('INSERT INTO pgtandem.layout VALUES ($1)', [SCHEMA_VERSION]);
  });
}

/** 0 when our schema is not there. */
export async function layoutVersion(connection: Connection): Promise<number> {
  const there = await connection.query(`SELECT to_regclass('pgtandem.layout') IS NOT NULL AS yes`);
  if (!there.rows[0].yes) return 0;
  const { rows } = await connection.query('SELECT version FROM pgtandem.layout');
  return rows[0]?.version ?? 0;
}
