import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { UserError } from '../migration/errors.js';
import type { ScramOptions } from '../proxy/login.js';
import type { ClientTls } from '../proxy/tls.js';

/** The options of `pgtandem proxy` about encryption and passwords. */
export interface TlsOptions {
  tls?: 'optional' | 'required';
  tlsCert?: string;
  tlsKey?: string;
  tlsClientCa?: string;
  tlsClientCert?: ClientTls['clientCert'];
  scram?: ScramOptions['mode'];
}

export function addTlsOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--tls-cert <file>', 'certificate shown to clients, and its chain (PEM)').env(
        'PGTANDEM_TLS_CERT',
      ),
    )
    .addOption(new Option('--tls-key <file>', 'its private key (PEM)').env('PGTANDEM_TLS_KEY'))
    .addOption(
      new Option('--tls <mode>', 'required: refuse clients that come over the network without TLS')
        .choices(['optional', 'required'])
        .default('optional'),
    )
    .addOption(new Option('--tls-client-ca <file>', "who may sign clients' certificates (PEM)"))
    .addOption(
      new Option('--tls-client-cert <mode>', 'whether clients show a certificate').choices([
        'none',
        'optional',
        'require',
      ]),
    )
    .addOption(
      new Option('--scram <way>', 'what is done about SCRAM and channel binding; see docs/tls.md')
        .choices(['auto', 'relay', 'strip', 'terminate'])
        .default('auto'),
    );
}

/**
 * Reads the files that the options name, and proves that they fit together.
 * @returns undefined when clients are not served TLS.
 * @throws UserError naming the file.
 */
export function loadTls(options: TlsOptions): ClientTls | undefined {
  const { tlsCert, tlsKey, tlsClientCa } = options;
  const required = options.tls === 'required';
  const clientCert = options.tlsClientCert ?? (tlsClientCa === undefined ? 'none' : 'require');
  if (tlsCert === undefined && tlsKey === undefined) {
    if (!required && clientCert === 'none' && tlsClientCa === undefined) return undefined;
    throw new UserError(
      'TLS is asked of clients, and there is no certificate to show them.',
      'Name one with --tls-cert FILE --tls-key FILE.',
    );
  }
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new UserError(
      '--tls-cert and --tls-key belong together, and one of them is missing.',
      'Name the files of both.',
    );
  }
  if (clientCert !== 'none' && tlsClientCa === undefined) {
    throw new UserError(
      `--tls-client-cert ${clientCert} needs to know who may sign clients' certificates.`,
      'Name the authority with --tls-client-ca FILE.',
    );
  }
  const cert = readPem('--tls-cert', tlsCert);
  const key = readPem('--tls-key', tlsKey);
  const first = certificate('--tls-cert', tlsCert, cert);
  if (!first.checkPrivateKey(privateKey(tlsKey, key))) {
    throw new UserError(
      `The key in ${tlsKey} is not that of the first certificate in ${tlsCert}.`,
      "The server's own certificate comes first in the file, the chain behind it.",
    );
  }
  const clientCa = tlsClientCa === undefined ? undefined : readPem('--tls-client-ca', tlsClientCa);
  if (clientCa !== undefined) certificate('--tls-client-ca', tlsClientCa!, clientCa);
  return { cert, key, clientCa, clientCert, required };
}

/** For the log: whose certificate it is, and how long it is good. */
export function describeCertificate({ cert }: ClientTls): { subject: string; validTo: string } {
  const { subject, validTo } = new X509Certificate(cert);
  return { subject: subject ?? '', validTo };
}

function readPem(option: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UserError(
      `The file of ${option} cannot be read: ${(error as Error).message}`,
      'Is the path right, and may this user read it?',
    );
  }
}

function certificate(option: string, path: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new UserError(
      `${path} (${option}) is not a certificate: ${(error as Error).message}`,
      'It is to be PEM: -----BEGIN CERTIFICATE-----.',
    );
  }
}

function privateKey(path: string, pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new UserError(
      `${path} (--tls-key) is not a private key that can be used: ${(error as Error).message}`,
      'It is to be PEM, without a passphrase.',
    );
  }
}
