/** What was broken to see this fail: a server in SQL_ASCII, or one that has not said what it is in, is taken for another. */
import t from 'tap';
import { Resolver } from '../../proxy/resolve.js';

t.test('an encoding is known where the server converts from it', async (t) => {
  const resolver = new Resolver();
  resolver.parameter('client_encoding', 'LATIN1');
  t.equal(resolver.codec, null, 'it is not known what the server makes of it');
  resolver.parameter('server_encoding', 'UTF8');
  t.same(resolver.codec?.toUtf8(Buffer.from([0xe9])), Buffer.from('é'));
  resolver.parameter('client_encoding', 'EUC_JP');
  t.equal(resolver.codec, null);
  resolver.parameter('client_encoding', 'LATIN1');
  resolver.parameter('server_encoding', 'SQL_ASCII');
  t.equal(resolver.codec, null, 'bytes are what they are there');
});
