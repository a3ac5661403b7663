import { X509Certificate } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import { type Connection, connect } from '../db/connect.js';
import { UserError } from '../migration/errors.js';
import { dial, type Upstream } from '../proxy/dial.js';
import { DEFAULT_LIMITS } from '../proxy/limits.js';
import { type Legs, type ScramOptions, type ScramWay, wayOf } from '../proxy/login.js';
import type { ClientTls } from '../proxy/tls.js';

/** Whether the role of this connection may read the roles' SCRAM verifiers. */
export async function mayReadVerifiers(control: Connection): Promise<boolean> {
  const { rows } = await control.query(
    `SELECT has_column_privilege('pg_catalog.pg_authid', 'rolname', 'SELECT')
        AND has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT') AS may`,
  );
  return rows[0].may;
}

/** Looks up roles' verifiers on a control connection of its own, opened when it is first needed. */
export class VerifierReader {
  private connection: Promise<Connection> | null = null;

  constructor(private readonly url: string) {}

  /**
   * @returns `rolpassword` of the role; null without such a role, or a password.
   * @throws Error when the server cannot be asked.
   */
  async verifierOf(user: string): Promise<string | null> {
    const reused = this.connection !== null;
    try {
      return await this.ask(user);
    } catch (error) {
      // The connection may have been lost while nothing was asked.
      if (!reused) throw error;
      return this.ask(user);
    }
  }

  async close(): Promise<void> {
    const connection = await this.connection?.catch(() => null);
    this.connection = null;
    await connection?.end().catch(() => undefined);
  }

  private async ask(user: string): Promise<string | null> {
    this.connection ??= connect({ url: this.url, role: 'verifiers' });
    const mine = this.connection;
    try {
      const { rows } = await (await mine).query(
        // The server cuts a name that is too long, at log-in as here.
        'SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1::text::name',
        [user],
      );
      return rows[0]?.rolpassword ?? null;
    } catch (error) {
      if (this.connection === mine) this.connection = null;
      mine.then((connection) => connection.end()).catch(() => undefined);
      throw error;
    }
  }
}

/** Which way logins by SCRAM go, of clients with TLS (null: not served) and without. */
export interface WaysInForce {
  tls: ScramWay | null;
  plain: ScramWay | null;
}

/**
 * Finds out how the server is reached, and judges the ways that follow from it.
 * @throws UserError for what cannot work; what `dial` throws.
 */
export async function judgeScram(
  scram: ScramOptions,
  upstream: Upstream,
  tls: ClientTls | undefined,
): Promise<{ ways: WaysInForce; warning: string | null }> {
  const server = await dial(upstream, DEFAULT_LIMITS, AbortSignal.timeout(10_000));
  const seen = server instanceof TLSSocket ? server.getPeerCertificate().raw : undefined;
  server.destroy();
  const shown = tls ? new X509Certificate(tls.cert).raw : undefined;
  return judge(scram, tls?.required ?? false, {
    clientTls: shown !== undefined,
    serverTls: seen !== undefined,
    sameCertificate: shown !== undefined && seen !== undefined && shown.equals(seen),
  });
}

/** Pure. @param legs those of a client with TLS, if it is served. @throws UserError */
export function judge(
  scram: ScramOptions,
  required: boolean,
  legs: Legs,
): { ways: WaysInForce; warning: string | null } {
  const { mode } = scram;
  if (mode === 'terminate' && !scram.verifierOf) {
    throw new UserError(
      "--scram terminate needs the roles' SCRAM verifiers, and the role of --upstream may not read them.",
      'As a superuser: GRANT SELECT (rolname, rolpassword) ON pg_authid TO the role of --upstream.',
    );
  }
  const plainLegs = { clientTls: false, serverTls: legs.serverTls, sameCertificate: false };
  const ways: WaysInForce = {
    tls: legs.clientTls ? wayOf(scram, legs) : null,
    plain: required ? null : wayOf(scram, plainLegs),
  };
  if (mode === 'relay' && legs.serverTls && !legs.sameCertificate) {
    throw new UserError(
      legs.clientTls
        ? '--scram relay cannot work: clients and server would bind SCRAM to two different certificates.'
        : '--scram relay cannot work: the server offers channel binding to clients that have no TLS.',
      'Say --scram auto; or give the proxy the certificate and key of the server itself.',
    );
  }
  const narrow = ways.tls === 'strip' && legs.serverTls;
  const warning = narrow
    ? 'clients with TLS can log in by SCRAM only with channel_binding=disable: ' +
      'let the role of --upstream read (rolname, rolpassword) of pg_authid, for --scram terminate; ' +
      "or give the proxy the server's own certificate"
    : null;
  return { ways, warning };
}
