import type { Rig } from '../e2e/rig.js';
import { viaKysely } from './node/kysely.js';
import { viaPg } from './node/pg.js';
import { viaPostgresJs } from './node/postgres-js.js';
import { viaTypeOrm } from './node/typeorm.js';
import { ACCOUNTS, MODES, openAccounts, Pgbench } from './pgbench.js';
import { openRig, type Phase, walk } from './phases.js';
import { Psql } from './psql.js';
import { Program, type Subject } from './subject.js';
import { go, java, python, ruby, rust } from './toolchains.js';
import { BaseBackup, Dump, openForTools } from './tools.js';

/** A driver or a tool in one of its ways of working. */
export interface Entry {
  name: string;
  /** @throws NotInstalled */
  open(rig: Rig): Promise<Subject>;
}

/** Those that are taken through the phases together, at one proxy. */
export interface Course {
  entries: readonly Entry[];
  /** @throws NotInstalled */
  open(): Promise<Rig>;
  walk(rig: Rig): AsyncGenerator<Phase>;
  /** One after the other in each phase, and not side by side: each changes all rows. */
  inTurn?: true;
}

/** @param command finds out how to run the program, installing and building it first. */
function program(name: string, command: () => string[], mode = ''): Entry {
  const full = mode ? `${name} (${mode})` : name;
  return {
    name: full,
    open: (rig) => Program.start(full, command(), { DATABASE_URL: rig.proxy.url(), MODE: mode }),
  };
}

/** Each keeps its connection through all the phases, but for psql. */
const DRIVERS: readonly Entry[] = [
  { name: 'psql', open: async (rig) => new Psql(rig.proxy.url()) },
  { name: 'pg', open: (rig) => viaPg(rig.proxy.url()) },
  { name: 'postgres.js', open: (rig) => viaPostgresJs(rig.proxy.url()) },
  { name: 'Kysely', open: (rig) => viaKysely(rig.proxy.url()) },
  { name: 'TypeORM', open: (rig) => viaTypeOrm(rig.proxy.url()) },
  program('psycopg', () => python('psycopg_.py'), 'text'),
  program('psycopg', () => python('psycopg_.py'), 'binary'),
  program('asyncpg', () => python('asyncpg_.py')),
  program('SQLAlchemy', () => python('sqlalchemy_.py'), 'psycopg'),
  program('SQLAlchemy', () => python('sqlalchemy_.py'), 'asyncpg'),
  program('Django', () => python('django_.py')),
  program('pgx', () => go('pgx'), 'cache_statement'),
  program('pgx', () => go('pgx'), 'cache_describe'),
  program('pgx', () => go('pgx'), 'describe_exec'),
  program('pgx', () => go('pgx'), 'exec'),
  program('pgx', () => go('pgx'), 'simple_protocol'),
  program('lib/pq', () => go('pq')),
  program('tokio-postgres', () => rust('tokio-postgres')),
  program('sqlx', () => rust('sqlx')),
  program('JDBC', java, 'extended'),
  program('JDBC', java, 'extendedCacheEverything'),
  program('JDBC', java, 'simple'),
  program('Ruby pg', () => ruby('pg.rb', 'pg')),
  program('ActiveRecord', () => ruby('active_record.rb', 'active_record')),
];

const LOADS: readonly Entry[] = MODES.map((mode) => ({
  name: `pgbench (${mode})`,
  open: async (rig) => new Pgbench(mode, rig.proxy.url()),
}));

const TOOLS: readonly Entry[] = [
  { name: 'pg_dump, pg_restore', open: async (rig) => new Dump(rig) },
  { name: 'pg_basebackup', open: async (rig) => new BaseBackup(rig) },
];

export const COURSES: readonly Course[] = [
  { entries: DRIVERS, open: () => openRig(), walk: (rig) => walk(rig) },
  { entries: LOADS, open: openAccounts, walk: (rig) => walk(rig, ACCOUNTS) },
  { entries: TOOLS, open: openForTools, walk: (rig) => walk(rig), inTurn: true },
];
