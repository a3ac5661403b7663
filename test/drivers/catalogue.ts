import { viaKysely } from './node/kysely.js';
import { viaPg } from './node/pg.js';
import { viaPostgresJs } from './node/postgres-js.js';
import { viaTypeOrm } from './node/typeorm.js';
import { Psql } from './psql.js';
import { Program, type Subject } from './subject.js';
import { go, java, python, ruby, rust } from './toolchains.js';

/** A driver in one of its ways of working. */
export interface Entry {
  name: string;
  /** @throws NotInstalled */
  open(url: string): Promise<Subject>;
}

/** @param command finds out how to run the program, installing and building it first. */
function program(name: string, command: () => string[], mode = ''): Entry {
  const full = mode ? `${name} (${mode})` : name;
  return {
    name: full,
    open: (url) => Program.start(full, command(), { DATABASE_URL: url, MODE: mode }),
  };
}

/** Every driver that keeps its connection through all the phases. */
export const CATALOGUE: readonly Entry[] = [
  { name: 'psql', open: async (url) => new Psql(url) },
  { name: 'pg', open: viaPg },
  { name: 'postgres.js', open: viaPostgresJs },
  { name: 'Kysely', open: viaKysely },
  { name: 'TypeORM', open: viaTypeOrm },
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
