/**
 * A target: one database on one or several servers, of which one is wanted. What connection strings
 * may say of it is libpq's: several hosts, and `target_session_attrs`. Pure.
 * https://www.postgresql.org/docs/current/libpq-connect.html
 */

export const ATTRS = [
  'any',
  'read-write',
  'read-only',
  'primary',
  'standby',
  'prefer-standby',
] as const;

/** Which server is wanted, by libpq's `target_session_attrs`. */
export type Attrs = (typeof ATTRS)[number];

export interface Target {
  /** A connection string of each host alone, in the order given. */
  urls: readonly string[];
  attrs: Attrs;
}

/** A connection string that can't be used; `hint` says how to write it. */
export class TargetError extends Error {
  override readonly name = 'TargetError';

  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

const SHAPE = /^(postgres(?:ql)?:\/\/)([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;
const HINT = 'Write it as postgres://user@host:port,host:port/database.';

/**
 * Reads `postgres://user@h1:5432,h2:5433/db?target_session_attrs=read-write`, and the same with
 * `host=` and `port=` among the parameters (a host that begins with a slash is a folder of Unix
 * sockets). With several hosts `any` becomes `read-write`: a migration needs the primary.
 * @throws TargetError when it is not a connection string, or names no such attribute.
 */
export function parseTarget(url: string): Target {
  const match = SHAPE.exec(url);
  if (!match) throw new TargetError('That is not a connection string.', HINT);
  const [, scheme = '', authority = '', database = '', query = ''] = match;
  const at = authority.lastIndexOf('@');
  const login = authority.slice(0, at + 1);
  const parameters = new URLSearchParams(query);
  const attrs = parameters.get('target_session_attrs') ?? 'any';
  if (!isAttrs(attrs)) {
    throw new TargetError(
      `There is no target_session_attrs=${attrs}.`,
      `It is one of ${ATTRS.join(', ')}.`,
    );
  }
  const hosts = hostsOf(authority.slice(at + 1), parameters);
  if (hosts.length === 1 && attrs === 'any') return { urls: [url], attrs };
  for (const name of ['host', 'port', 'target_session_attrs']) parameters.delete(name);
  const urls = hosts.map(({ host, port }) => {
    const own = new URLSearchParams(parameters);
    // A socket's folder goes among the parameters; the address before it is not looked at.
    if (host.startsWith('/')) own.set('host', host);
    const address = host.startsWith('/') ? 'localhost' : host;
    const tail = own.size > 0 ? `?${own}` : '';
    return `${scheme}${login}${address}:${port}/${database}${tail}`;
  });
  return { urls, attrs: attrs === 'any' && urls.length > 1 ? 'read-write' : attrs };
}

function isAttrs(text: string): text is Attrs {
  return (ATTRS as readonly string[]).includes(text);
}

/** Hosts with their ports; those among the parameters come before those of the address. */
function hostsOf(address: string, parameters: URLSearchParams): { host: string; port: string }[] {
  const pairs = address.split(',').map((part) => {
    const found = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(part);
    if (!found) throw new TargetError('That is not a list of hosts.', HINT);
    return { host: decodeURIComponent(found[1] ?? ''), port: found[2] ?? '' };
  });
  const names = parameters.get('host')?.split(',') ?? pairs.map(({ host }) => host);
  const ports = parameters.get('port')?.split(',') ?? pairs.map(({ port }) => port);
  if (ports.length !== 1 && ports.length !== names.length) {
    const counts = `${ports.length} ports for ${names.length} hosts`;
    throw new TargetError(`There are ${counts}.`, 'Give one port, or one for each host.');
  }
  return names.map((name, i) => {
    const port = (ports.length === 1 ? ports[0] : ports[i]) || '5432';
    if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
      throw new TargetError(`"${port}" is not a port.`, HINT);
    }
    const bare = name.includes(':') && !name.startsWith('[') && !name.startsWith('/');
    return { host: bare ? `[${name}]` : name || 'localhost', port };
  });
}

/** For messages: where a connection string of one host leads. */
export function describeHost(url: string): string {
  const match = SHAPE.exec(url);
  const folder = new URLSearchParams(match?.[4] ?? '').get('host');
  const address = match?.[2]?.replace(/^.*@/, '') || 'the local socket';
  return folder?.startsWith('/') ? `${folder}:${address.replace(/^.*:/, '')}` : address;
}

/** What a look at a host has shown. */
export type Known = { up: true; standby: boolean; readOnly: boolean } | { up: false; why: string };

/** Whether a session at such a server is what is asked for. */
export function suits(known: Known, attrs: Attrs): boolean {
  if (!known.up) return false;
  switch (attrs) {
    case 'read-write':
      return !known.standby && !known.readOnly;
    case 'read-only':
      return known.standby || known.readOnly;
    case 'primary':
      return !known.standby;
    case 'standby':
      return known.standby;
    default:
      return true;
  }
}

/** Which hosts to use, the best first; `split`: those that all say they are the one to write to. */
export interface Choice {
  order: readonly number[];
  split: readonly number[];
}

/**
 * Chooses among hosts. Where one only can be right and several say they are, nothing is chosen but
 * the one in use: which of them is ahead cannot be told from outside (a server that comes back
 * after a failover says the same as the one promoted in its place), and writing to both loses data.
 * @param present the host in use up to now; it is kept while it is as good as another.
 */
export function choose(known: readonly Known[], attrs: Attrs, present: number | null): Choice {
  const order = known.flatMap((host, i) => (suits(host, attrs) ? [i] : []));
  const single = attrs === 'read-write' || attrs === 'primary';
  if (single && order.length > 1) {
    return { order: order.filter((i) => i === present), split: order };
  }
  const rank = (i: number) => {
    const host = known[i]!;
    const second = attrs === 'prefer-standby' && host.up && !host.standby ? 2 : 0;
    return second + (i === present ? 0 : 1);
  };
  return { order: order.sort((a, b) => rank(a) - rank(b) || a - b), split: [] };
}

/** For messages: what is known of the hosts. */
export function describeKnown(urls: readonly string[], known: readonly Known[]): string {
  return urls
    .map((url, i) => {
      const host = known[i]!;
      if (!host.up) return `${describeHost(url)}: ${host.why}`;
      const kind = host.standby ? 'a standby' : 'a primary';
      const frozen = host.readOnly && !host.standby ? ', read-only' : '';
      return `${describeHost(url)} is ${kind}${frozen}`;
    })
    .join('; ');
}
