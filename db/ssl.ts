import { readFileSync } from 'node:fs';
import { type ConnectionOptions, rootCertificates } from 'node:tls';

export type SslMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';

/** What a connection string says of TLS, in libpq's words. */
export interface SslSettings {
  mode: SslMode;
  /** TLS without a request for it. */
  direct: boolean;
  sni: boolean;
  /** Path; `system`: the certificate authorities that Node.js brings. */
  rootCert: string | null;
  cert: string | null;
  key: string | null;
}

/** A parameter that cannot be followed. */
export class SslError extends Error {
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

const MODES: readonly string[] = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'];

/** Parameters that this file understands; `pg` understands them otherwise. */
export const SSL_PARAMETERS: readonly string[] = [
  'ssl',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'sslnegotiation',
  'sslsni',
  'uselibpqcompat',
];

/**
 * Reads the parameters as libpq does: prefer when nothing is said, require with a root certificate
 * is verify-ca. Pure. https://www.postgresql.org/docs/current/libpq-ssl.html
 * @throws SslError
 */
export function readSsl(parameters: URLSearchParams): SslSettings {
  const given = (name: string) => parameters.get(name) || null;
  const rootCert = given('sslrootcert');
  const direct = given('sslnegotiation') === 'direct';
  let mode = given('sslmode') ?? (rootCert === 'system' ? 'verify-full' : 'prefer');
  if (!MODES.includes(mode)) {
    throw new SslError(
      `sslmode=${mode} is not one that is understood.`,
      `Say ${MODES.join(', ')}.`,
    );
  }
  if (mode === 'require' && rootCert) mode = 'verify-ca';
  const verifies = mode.startsWith('verify');
  if (verifies && !rootCert) {
    throw new SslError(
      `sslmode=${mode} needs the certificate authority that signed the server's certificate.`,
      'Name its file with sslrootcert=FILE, or say sslrootcert=system for the public ones.',
    );
  }
  if (rootCert === 'system' && mode !== 'verify-full') {
    throw new SslError(
      `sslrootcert=system with sslmode=${mode} would trust whoever has a public certificate.`,
      'Say sslmode=verify-full.',
    );
  }
  if (direct && (mode === 'disable' || mode === 'prefer')) {
    throw new SslError(
      `sslnegotiation=direct with sslmode=${mode} cannot be done: nothing is asked first.`,
      'Say sslmode=require, verify-ca or verify-full.',
    );
  }
  const cert = given('sslcert');
  const key = given('sslkey');
  if ((cert === null) !== (key === null)) {
    throw new SslError(
      'sslcert and sslkey belong together, and one of them is missing.',
      'Name the files of both.',
    );
  }
  const sni = given('sslsni') !== '0';
  return { mode: mode as SslMode, direct, sni, rootCert, cert, key };
}

/** Certificates and key of these settings, in PEM. @throws SslError naming the file. */
export function readSslFiles({ rootCert, cert, key }: SslSettings): {
  ca?: string | string[];
  cert?: string;
  key?: string;
} {
  const system = rootCert === 'system';
  return {
    ...(rootCert ? { ca: system ? [...rootCertificates] : read('sslrootcert', rootCert) } : {}),
    ...(cert ? { cert: read('sslcert', cert) } : {}),
    ...(key ? { key: read('sslkey', key) } : {}),
  };
}

function read(parameter: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new SslError(
      `The file of ${parameter} cannot be read: ${(error as Error).message}`,
      'Is the path right, and may this user read it?',
    );
  }
}

/** The same for `pg`, whose own modes of these names mean other things. @throws SslError */
export function pgSsl(settings: SslSettings): ConnectionOptions | false {
  if (settings.mode === 'disable') return false;
  const { mode } = settings;
  return {
    ...readSslFiles(settings),
    minVersion: 'TLSv1.2',
    rejectUnauthorized: mode === 'verify-ca' || mode === 'verify-full',
    ...(mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
  };
}
