import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/** What `/healthz` and `/readyz` answer: the status by `ok`, the whole as JSON. */
export interface Health {
  ok: boolean;
  [detail: string]: unknown;
}

export interface EndpointOptions {
  host: string;
  /** 0: one that the kernel gives. */
  port: number;
  /** Gives the metrics in the text format of Prometheus. */
  metrics: { expose(): Promise<string> };
  /** Whether the process is well; when it is not it should be started again. */
  health: () => Health | Promise<Health>;
  /** Whether it can serve now. */
  ready: () => Health | Promise<Health>;
}

export interface Endpoint {
  host: string;
  port: number;
  close(): Promise<void>;
}

const TEXT_FORMAT = 'text/plain; version=0.0.4; charset=utf-8';
const MAX_CONNECTIONS = 64;
/** A client has so long to send a request, to take the answer, or to ask again, milliseconds. */
const PATIENCE_MS = 5_000;

interface Answer {
  status: number;
  type: string;
  body: string;
}

/**
 * The HTTP endpoint for Prometheus and for probes: `/metrics`, `/healthz`, `/readyz`. It holds no
 * secret and changes nothing, and it has no login: bind it to an address that only they reach.
 * @throws Error with `code` EADDRINUSE and the like, when the address cannot be listened on.
 */
export async function startEndpoint(options: EndpointOptions): Promise<Endpoint> {
  const server = createServer(
    {
      headersTimeout: PATIENCE_MS,
      requestTimeout: PATIENCE_MS,
      keepAliveTimeout: PATIENCE_MS,
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: 8_192,
    },
    (request, response) => {
      answer(options, request)
        .catch((error: unknown) => json(500, { ok: false, error: String(error) }))
        .then((result) => send(request, response, result))
        // Only a response that can no longer be written gets here, and it has nobody to tell.
        .catch(() => response.destroy());
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  // A socket on which nothing moves is ended, also one whose client does not read.
  server.setTimeout(PATIENCE_MS);
  await listen(server, options);
  const address = server.address();
  if (typeof address !== 'object' || !address) throw new Error('The endpoint has no address.');
  return { host: address.address, port: address.port, close: () => close(server) };
}

function listen(server: Server, { host, port }: EndpointOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function answer(options: EndpointOptions, request: IncomingMessage): Promise<Answer> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, type: 'text/plain; charset=utf-8', body: 'GET or HEAD only\n' };
  }
  switch ((request.url ?? '').split('?', 1)[0]) {
    case '/metrics':
      return { status: 200, type: TEXT_FORMAT, body: await options.metrics.expose() };
    case '/healthz':
      return probe(options.health);
    case '/readyz':
      return probe(options.ready);
    default:
      return {
        status: 404,
        type: 'text/plain; charset=utf-8',
        body: 'There is /metrics, /healthz and /readyz\n',
      };
  }
}

/** A probe that fails is an answer: not well. */
async function probe(ask: () => Health | Promise<Health>): Promise<Answer> {
  try {
    const health = await ask();
    return json(health.ok === true ? 200 : 503, health);
  } catch (error) {
    return json(503, { ok: false, error: String(error) });
  }
}

function json(status: number, value: Health): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value)}\n` };
}

function send(request: IncomingMessage, response: ServerResponse, result: Answer): void {
  response.writeHead(result.status, {
    'content-type': result.type,
    'content-length': Buffer.byteLength(result.body),
    'cache-control': 'no-store',
    ...(result.status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : result.body);
}
