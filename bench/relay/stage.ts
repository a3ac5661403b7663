import pg from 'pg';
import { Cluster } from '../../cli/demo/cluster.js';
import { loadParser } from '../../sql/rewriter.js';
import { migrate } from '../migrate.js';
import { type Contender, direct, pgbouncer, pgtandem, socat } from './contenders.js';
import { initialise } from './pgbench.js';

const DATABASES = {
  /** No migration. */
  plain: null,
  /** One on a table that the load does not use. */
  other: 'ALTER TABLE bystander ALTER COLUMN size TYPE bigint',
  /** One on the table that it reads and writes. */
  same: 'ALTER TABLE pgbench_accounts ALTER COLUMN abalance TYPE bigint',
};

/** A server, and all the ways to it that are compared. */
export interface Stage {
  cluster: Cluster;
  contenders: Contender[];
  stop(): Promise<void>;
}

/**
 * @param names of the contenders that are wanted; all when empty.
 * @param tls clients come within TLS, but to the server itself and to socat, which have none.
 */
export async function setStage(
  scale: number,
  names: readonly string[],
  tls: boolean,
): Promise<Stage> {
  await loadParser();
  const cluster = await Cluster.create({
    settings: { max_connections: 1500, shared_buffers: '512MB', synchronous_commit: 'off' },
  });
  const contenders: Contender[] = [];
  const stop = async () => {
    for (const contender of contenders) await contender.stop();
    await cluster.destroy();
  };
  try {
    await makeDatabases(cluster, scale);
    const ways: Record<string, () => Contender | Promise<Contender>> = {
      direct: () => direct(cluster, 'plain'),
      socat: () => socat(cluster, 'plain'),
      pgbouncer: () => pgbouncer(cluster, 'plain', tls),
      pgtandem: () => pgtandem('pgtandem', cluster, 'plain', 1, tls),
      'two workers': () => pgtandem('two workers', cluster, 'plain', 2, tls),
      'other table': () => pgtandem('other table', cluster, 'other', 1, tls),
      'this table': () => pgtandem('this table', cluster, 'same', 1, tls),
    };
    for (const [name, make] of Object.entries(ways)) {
      if (names.length === 0 || names.includes(name)) contenders.push(await make());
    }
    for (const { database } of contenders) {
      const sql = DATABASES[database as keyof typeof DATABASES];
      if (sql !== null) await migrate(cluster.url(database), sql);
    }
    return { cluster, contenders, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function makeDatabases(cluster: Cluster, scale: number): Promise<void> {
  const admin = await cluster.client();
  await admin.query('CREATE DATABASE plain');
  await initialise(direct(cluster, 'plain'), scale);
  const plain = new pg.Client({ connectionString: cluster.url('plain') });
  await plain.connect();
  await plain.query('CREATE TABLE bystander (id int PRIMARY KEY, size int)');
  await plain.query('VACUUM ANALYZE');
  await plain.end();
  for (const name of Object.keys(DATABASES).filter((each) => each !== 'plain')) {
    await admin.query(`CREATE DATABASE ${name} TEMPLATE plain`);
  }
  await admin.end();
}
