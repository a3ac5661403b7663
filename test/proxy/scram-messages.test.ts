import { createHash, createHmac, pbkdf2Sync, X509Certificate } from 'node:crypto';
import t from 'tap';
import { endPointHash } from '../../proxy/certificate.js';
import { bindingFlag, readVerifier, ScramClient, ScramServer } from '../../proxy/scram.js';
import { makeCertificate } from './certificates.js';

const SALT = Buffer.from('salt of a role').toString('base64');
const ITERATIONS = 4096;

function keysOf(password: string) {
  const salted = pbkdf2Sync(password, Buffer.from(SALT, 'base64'), ITERATIONS, 32, 'sha256');
  const hmac = (text: string) => createHmac('sha256', salted).update(text).digest();
  const clientKey = hmac('Client Key');
  const storedKey = createHash('sha256').update(clientKey).digest();
  const serverKey = hmac('Server Key');
  const text = `SCRAM-SHA-256$${ITERATIONS}:${SALT}$${storedKey.toString('base64')}:${serverKey.toString('base64')}`;
  return { clientKey, verifier: readVerifier(text)! };
}

function initial(mechanism: string, data: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(data.length);
  return Buffer.concat([Buffer.from(`${mechanism}\0`), length, Buffer.from(data)]);
}

const right = keysOf('secret');
const wrong = keysOf('guess');
const endPoint = Buffer.alloc(32, 1);

/** A whole exchange; what each side makes of it. */
function exchange(server: ScramServer, client: ScramClient, clientKey: Buffer | null) {
  server.begin(initial(client.mechanism, client.first()));
  const told = client.challenged(Buffer.from(server.challenge(SALT, ITERATIONS)));
  const proven = server.prove(Buffer.from(client.answer(clientKey)), right.verifier);
  const outcome = Buffer.from(server.outcome(right.verifier));
  return { told, proven, client, outcome };
}

t.test('a proof yields the key, whatever is bound', async (t) => {
  for (const [shown, seen, mechanism] of [
    [null, null, 'SCRAM-SHA-256'],
    [endPoint, endPoint, 'SCRAM-SHA-256-PLUS'],
    [null, endPoint, 'SCRAM-SHA-256'],
  ] as const) {
    const server = new ScramServer(shown);
    const client = new ScramClient(server.mechanisms, seen);
    t.equal(client.mechanism, mechanism);
    const { told, proven, outcome } = exchange(server, client, right.clientKey);
    t.same(told, { salt: SALT, iterations: ITERATIONS });
    t.same(proven, right.clientKey);
    t.ok(client.confirms(outcome, right.verifier));
    t.notOk(client.confirms(outcome, wrong.verifier), 'another server');
  }
});

t.test('a proof of anything else yields nothing', async (t) => {
  for (const key of [wrong.clientKey, null]) {
    const server = new ScramServer(endPoint);
    t.equal(exchange(server, new ScramClient(server.mechanisms, endPoint), key).proven, null);
  }
  const server = new ScramServer(null);
  const client = new ScramClient(server.mechanisms, null);
  server.begin(initial(client.mechanism, client.first()));
  client.challenged(Buffer.from(server.challenge(SALT, ITERATIONS)));
  t.equal(server.prove(Buffer.from(client.answer(right.clientKey)), null), null, 'no such role');
});

t.test('binding to another certificate is found out', async (t) => {
  const server = new ScramServer(endPoint);
  const client = new ScramClient(server.mechanisms, Buffer.alloc(32, 2));
  t.throws(() => exchange(server, client, right.clientKey), {
    name: 'Error',
    code: '28000',
    message: 'SCRAM channel binding check failed',
  });
});

t.test('what a client may not say', async (t) => {
  const plus = 'SCRAM-SHA-256-PLUS';
  const bind = 'p=tls-server-end-point,,n=,r=abc';
  for (const [shown, mechanism, data, code] of [
    [endPoint, 'SCRAM-SHA-256', 'y,,n=,r=abc', '28000'],
    [endPoint, plus, 'n,,n=,r=abc', '08P01'],
    [endPoint, 'SCRAM-SHA-256', bind, '08P01'],
    [endPoint, plus, 'p=tls-unique,,n=,r=abc', '08P01'],
    [null, plus, bind, '08P01'],
    [null, 'PLAIN', 'n,,n=,r=abc', '08P01'],
    [null, 'SCRAM-SHA-256', 'n,a=me,n=,r=abc', '0A000'],
    [null, 'SCRAM-SHA-256', 'n,,m=x,n=,r=abc', '0A000'],
    [null, 'SCRAM-SHA-256', 'n,,n=,r=', '08P01'],
    [null, 'SCRAM-SHA-256', '', '08P01'],
  ] as const) {
    const server = new ScramServer(shown);
    t.throws(() => server.begin(initial(mechanism, data)), { name: 'Error', code }, data);
  }
  t.throws(() => new ScramServer(null).begin(Buffer.from('x')), { name: 'Error', code: '08P01' });
  const fresh = () => {
    const server = new ScramServer(null);
    server.begin(initial('SCRAM-SHA-256', 'n,,n=,r=abc'));
    return { server, nonce: /^r=([^,]+)/.exec(server.challenge(SALT, ITERATIONS))![1]! };
  };
  const proof = Buffer.alloc(32).toString('base64');
  const { nonce, server } = fresh();
  t.ok(nonce.startsWith('abc') && nonce.length > 20);
  for (const data of [
    `c=biws,r=abc,p=${proof}`,
    `c=eSws,r=${nonce},p=${proof}`,
    `c=biws,r=${nonce},p=AA==`,
    `c=biws,r=${nonce}`,
    '',
  ]) {
    const prove = () => server.prove(Buffer.from(data), right.verifier);
    t.throws(prove, { name: 'Error', code: '08P01' }, data);
  }
  t.equal(bindingFlag(initial('SCRAM-SHA-256', 'y,,n=,r=abc')), 'y');
  t.equal(bindingFlag(Buffer.from('x')), null);
});

t.test('what a server may not say', async (t) => {
  for (const said of ['', 'r=other,s=AAAA,i=4096', 'e=other-error', 's=AAAA,i=4096']) {
    const client = new ScramClient(['SCRAM-SHA-256'], null);
    t.throws(() => client.challenged(Buffer.from(said)), { name: 'Error', code: '08P01' }, said);
  }
  const client = new ScramClient(['SCRAM-SHA-256'], null);
  const own = /r=(.*)$/.exec(client.first())![1];
  const echo = Buffer.from(`r=${own},s=AAAA,i=4096`);
  t.throws(() => client.challenged(echo), { name: 'Error', code: '08P01' }, 'no nonce of its own');
});

t.test('verifiers as pg_authid has them', async (t) => {
  t.equal(readVerifier(null), null);
  t.equal(readVerifier('md5d41d8cd98f00b204e9800998ecf8427e'), null);
  t.equal(readVerifier('SCRAM-SHA-256$4096:c2FsdA==$AAAA:AAAA'), null);
  t.equal(right.verifier.salt, SALT);
});

t.test('the hash of a certificate is that of its signature', async (t) => {
  for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
    const { der, cert } = makeCertificate({ name: 'x', hash });
    t.same(new X509Certificate(cert).raw, der);
    t.same(endPointHash(der), createHash(hash).update(der).digest());
  }
  t.equal(endPointHash(Buffer.alloc(0)), null);
  t.equal(endPointHash(Buffer.from([0x30, 0x84, 0xff, 0xff, 0xff, 0xff])), null);
});
