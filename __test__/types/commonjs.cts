// A CommonJS program that touches every declaration of @types/ws. It is only compiled.

import http = require('node:http');
import https = require('node:https');
import net = require('node:net');
import stream = require('node:stream');
import WebSocket = require('ws');
import { WebSocket as NamedWebSocket, WebSocketServer, createWebSocketStream } from 'ws';

// Constructors.

const plain = new WebSocket('ws://localhost');
const withOptions = new WebSocket(new URL('wss://localhost'), { handshakeTimeout: 1000 });
const withProtocol = new WebSocket('ws://localhost', 'chat');
const withBoth = new WebSocket('ws://localhost', ['a', 'b'], { origin: 'http://localhost' });
const withRequestOptions = new WebSocket('ws://localhost', {
  auth: 'user:secret',
  headers: { cookie: ['a=1', 'b=2'] },
  lookup: undefined,
  timeout: 1000
});
const withUndefined = new WebSocket('ws://localhost', undefined, undefined);
const detached = new WebSocket(null);
const named: NamedWebSocket = new NamedWebSocket('ws://localhost');
const nested: WebSocket.WebSocket = new WebSocket.WebSocket('ws://localhost');
const sameClass: typeof WebSocket = NamedWebSocket;

// @ts-expect-error an address is a string or a URL
new WebSocket(8080);
// @ts-expect-error an unknown option is a mistake
new WebSocket('ws://localhost', { handshakeTimeOut: 1000 });

// Constants and properties.

const constants: [0, 1, 2, 3] = [
  WebSocket.CONNECTING,
  WebSocket.OPEN,
  WebSocket.CLOSING,
  WebSocket.CLOSED
];
const instanceConstants: [0, 1, 2, 3] = [plain.CONNECTING, plain.OPEN, plain.CLOSING, plain.CLOSED];
const state: 0 | 1 | 2 | 3 = plain.readyState;

function describeState(socket: WebSocket): string {
  switch (socket.readyState) {
    case WebSocket.CONNECTING:
      return 'connecting';
    case WebSocket.OPEN:
      return 'open';
    case socket.CLOSING:
      return 'closing';
    case socket.CLOSED:
      return 'closed';
    default: {
      const never: never = socket.readyState;
      return never;
    }
  }
}

function describeBinaryType(socket: WebSocket): number {
  switch (socket.binaryType) {
    case 'nodebuffer':
      return 1;
    case 'arraybuffer':
      return 2;
    case 'fragments':
      return 3;
    default: {
      const never: never = socket.binaryType;
      return never;
    }
  }
}

plain.binaryType = 'arraybuffer';
const text: string = plain.extensions + plain.protocol + plain.url;
const amount: number = plain.bufferedAmount;
const paused: boolean = plain.isPaused;

// @ts-expect-error these are read only
plain.bufferedAmount = 1;
// @ts-expect-error these are read only
plain.readyState = WebSocket.OPEN;
// @ts-expect-error there is no such type
plain.binaryType = 'text';

// Methods.

plain.close();
plain.close(1000);
plain.close(1000, 'reason');
plain.close(1000, Buffer.from('reason'));
plain.ping();
plain.ping('data', true, (error: Error) => error.message);
plain.ping(() => {});
plain.pong();
plain.pong(Buffer.alloc(1), false, () => {});
plain.pause();
plain.resume();
plain.terminate();

plain.send('text');
plain.send(1);
plain.send(Buffer.alloc(1));
plain.send(new DataView(new ArrayBuffer(1)));
plain.send(new Float64Array(1));
plain.send(new ArrayBuffer(1));
plain.send(new SharedArrayBuffer(1));
plain.send(new Blob(['text']));
plain.send([1, 2, 3]);
plain.send(['1', '2'] as readonly any[]);
plain.send({ valueOf: () => new ArrayBuffer(1) });
plain.send({ valueOf: () => new SharedArrayBuffer(1) });
plain.send({ valueOf: () => new Uint8Array(1) });
plain.send({ valueOf: () => [1, 2] });
plain.send({ valueOf: () => 'text' });
plain.send({ [Symbol.toPrimitive]: (_hint: string) => 'text' });
plain.send('text', (error?: Error) => error?.message);
plain.send('text', { binary: true, compress: false, fin: true, mask: undefined }, (error) => {
  const reason: Error | undefined = error;
  return reason;
});
plain.send('text', {}, undefined);

// @ts-expect-error options are checked
plain.send('text', { binary: 'yes' });

// Events, in each of the five ways to listen.

plain.on('close', function (code: number, reason: Buffer) {
  const self: WebSocket = this;
  return self.url + code.toFixed() + reason.toString();
});
plain
  .on('error', (error) => error.message)
  .on('upgrade', (response) => response.headers['set-cookie'])
  .on('message', (data, isBinary) => {
    const raw: WebSocket.RawData = data;
    const flag: boolean = isBinary;
    if (data instanceof ArrayBuffer) return data.byteLength + Number(flag);
    if (Array.isArray(data)) return Buffer.concat(data).length;
    return data.length + raw.toString().length;
  })
  .on('open', () => {})
  .on('ping', (data) => data.length)
  .on('pong', (data) => data.length)
  .on('redirect', (url, request) => request.removeHeader(url))
  .on('unexpected-response', (request, response) => [request.path, response.statusCode])
  .on('anything', (...args) => args.length)
  .on(Symbol('anything'), () => {});

plain.once('close', (code, reason) => code + reason.length);
plain.once('error', (error) => error.message);
plain.once('upgrade', (response) => response.statusCode);
plain.once('message', (data, isBinary) => isBinary && data.toString());
plain.once('open', function () {
  this.send('opened');
});
plain.once('ping', (data) => data.length);
plain.once('pong', (data) => data.length);
plain.once('redirect', (url, request) => request.getHeader(url));
plain.once('unexpected-response', (_request, response) => response.resume());
plain.once('anything', (...args) => args.length);

plain.off('close', (code, reason) => code + reason.length);
plain.off('error', (error) => error.message);
plain.off('upgrade', (response) => response.statusCode);
plain.off('message', (data, isBinary) => isBinary && data.toString());
plain.off('open', () => {});
plain.off('ping', (data) => data.length);
plain.off('pong', (data) => data.length);
plain.off('redirect', (url, request) => request.getHeader(url));
plain.off('unexpected-response', (_request, response) => response.resume());
plain.off('anything', (...args) => args.length);

plain.addListener('close', (code, reason) => code + reason.length);
plain.addListener('error', (error) => error.message);
plain.addListener('upgrade', (response) => response.statusCode);
plain.addListener('message', (data, isBinary) => isBinary && data.toString());
plain.addListener('open', () => {});
plain.addListener('ping', (data) => data.length);
plain.addListener('pong', (data) => data.length);
plain.addListener('redirect', (url, request) => request.getHeader(url));
plain.addListener('unexpected-response', (_request, response) => response.resume());
plain.addListener('anything', (...args) => args.length);

plain.removeListener('close', (code, reason) => code + reason.length);
plain.removeListener('error', (error) => error.message);
plain.removeListener('upgrade', (response) => response.statusCode);
plain.removeListener('message', (data, isBinary) => isBinary && data.toString());
plain.removeListener('open', () => {});
plain.removeListener('ping', (data) => data.length);
plain.removeListener('pong', (data) => data.length);
plain.removeListener('redirect', (url, request) => request.getHeader(url));
plain.removeListener('unexpected-response', (_request, response) => response.resume());
plain.removeListener('anything', (...args) => args.length);

class Owner {
  // A listener with a `this` of its own is taken by the two oldest methods.
  onMessage(this: Owner, data: WebSocket.RawData): void {
    data.toString();
  }
  constructor(socket: WebSocket) {
    socket.addListener('message', this.onMessage);
    socket.removeListener('message', this.onMessage);
  }
}

for (const event of ['open', 'close'] as const) plain.on(event, (...args) => args[0]);
for (const event of ['ping', 'pong'] as const) plain.on(event, (data) => data.length);

plain.onopen = (event) => event.target.readyState;
plain.onerror = (event) => event.error.code + event.message + event.type;
plain.onclose = (event) => event.code + event.reason + event.wasClean;
plain.onmessage = null;
plain.onmessage = ({ data, target, type }: WebSocket.MessageEvent) => {
  const payload: WebSocket.Data = data;
  if (typeof payload === 'string') return target.send(payload + type);
  if (payload instanceof ArrayBuffer) return target.send(payload.slice(1));
  if (Array.isArray(payload)) return target.send(payload[0]!);
  return target.send(payload.subarray(1));
};

plain.addEventListener('open', (event: WebSocket.Event) => event.type);
plain.addEventListener('error', (event: WebSocket.ErrorEvent) => event.message);
plain.addEventListener('close', (event: WebSocket.CloseEvent) => event.wasClean, { once: true });
plain.addEventListener('message', { handleEvent: (event) => event.data }, {});
plain.removeEventListener('message', { handleEvent: (event) => event.data });
plain.removeEventListener('close', (event) => event.code);

const listenerOptions: WebSocket.EventListenerOptions = { once: undefined };
const eventNames: (keyof WebSocket.WebSocketEventMap)[] = ['open', 'error', 'close', 'message'];

// @ts-expect-error EventTarget has no such event here
plain.addEventListener('pong', () => {});

// Options of a client.

const deflate: WebSocket.PerMessageDeflateOptions = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  serverMaxWindowBits: 10,
  clientMaxWindowBits: 10,
  zlibDeflateOptions: {
    flush: 0,
    finishFlush: 0,
    chunkSize: 1024,
    windowBits: 15,
    level: 3,
    memLevel: 7,
    strategy: 0,
    dictionary: Buffer.alloc(0),
    info: false
  },
  zlibInflateOptions: { chunkSize: 10 * 1024 },
  threshold: 1024,
  concurrencyLimit: 10
};

const clientOptions: WebSocket.ClientOptions = {
  agent: new http.Agent(),
  allowSynchronousEvents: false,
  autoPong: false,
  ca: 'certificate',
  cert: 'certificate',
  checkServerIdentity(servername: string, cert: WebSocket.CertMeta): boolean {
    return servername.length > cert.length;
  },
  createConnection: net.createConnection,
  family: 4,
  finishRequest(request, websocket) {
    const caller: WebSocket.WebSocket = websocket;
    request.setHeader('x-url', caller.url).end();
  },
  followRedirects: true,
  generateMask(mask) {
    mask.fill(0);
  },
  handshakeTimeout: 1000,
  headers: { authorization: 'Basic' },
  host: 'localhost',
  key: Buffer.alloc(0),
  localAddress: '127.0.0.1',
  maxBufferedChunks: 1,
  maxFragments: 1,
  maxPayload: 1,
  maxRedirects: 1,
  origin: 'http://localhost',
  passphrase: 'secret',
  perMessageDeflate: deflate,
  protocol: 'ws:',
  protocolVersion: 13,
  rejectUnauthorized: false,
  skipUTF8Validation: true
};
clientOptions.agent = new https.Agent();
clientOptions.perMessageDeflate = undefined;
const header: string | undefined = clientOptions.headers?.['authorization'];
const finish: WebSocket.FinishRequestCallback = (request) => request.end();

// Options and constructors of a server.

class Request extends http.IncomingMessage {
  session = 'none';
}

class Peer extends WebSocket {
  alive = true;

  override send(data: any, ...rest: any[]): void {
    super.send(data, ...(rest as [{ binary?: boolean }, () => void]));
  }
  override on(event: string | symbol, listener: (...args: any[]) => void): this {
    return super.on(event, listener);
  }
  override close(code?: number, data?: string | Buffer): void {
    super.close(code, data);
  }
  override ping(data?: any, mask?: boolean, cb?: (error: Error) => void): void {
    super.ping(data, mask, cb);
  }
}

class Buffers extends WebSocket {
  binaryType: 'nodebuffer' = 'nodebuffer';
}

const serverOptions: WebSocket.ServerOptions = {
  allowSynchronousEvents: true,
  autoPong: true,
  backlog: 511,
  clientTracking: true,
  handleProtocols: (protocols, request) =>
    protocols.values().next().value ?? (request.url && false) ?? '',
  host: '127.0.0.1',
  maxBufferedChunks: 1,
  maxFragments: 1,
  maxPayload: 1,
  noServer: false,
  path: '/path',
  perMessageDeflate: true,
  port: 0,
  server: http.createServer(),
  skipUTF8Validation: false,
  verifyClient: ({
    origin,
    secure,
    req
  }: {
    origin: string;
    secure: boolean;
    req: http.IncomingMessage;
  }) => secure && origin === req.headers.origin,
  WebSocket
};
serverOptions.server = https.createServer();

const verifySync: WebSocket.VerifyClientCallbackSync = (info) => info.secure;
const verifyAsync: WebSocket.VerifyClientCallbackAsync<Request> = ({ req }, callback) => {
  callback(req.session !== 'none', 401, 'Unauthorized', { 'WWW-Authenticate': 'Basic' });
};

const server = new WebSocketServer({ port: 0 }, () => {});
const bare = new WebSocket.Server();
const aliased: WebSocket.WebSocketServer = new WebSocket.WebSocketServer({ noServer: true });
const generic: WebSocket.Server<typeof Peer, typeof Request> = new WebSocketServer<
  typeof Peer,
  typeof Request
>({
  handleProtocols: (_protocols, request) => request.session,
  server: http.createServer({ IncomingMessage: Request }),
  verifyClient: verifyAsync,
  WebSocket: Peer
});
const inferred = new WebSocketServer({ noServer: true, WebSocket: Peer });
inferred.on('connection', (peer) => {
  const isPeer: Peer = peer;
  const flag: boolean = isPeer.alive;
  return flag;
});
generic.clients.forEach((peer) => peer.alive && peer.ping());

// @ts-expect-error a port is a number
new WebSocketServer({ port: '8080' });

class Chat extends WebSocket.Server<typeof Peer> {
  override shouldHandle(request: http.IncomingMessage): boolean | Promise<boolean> {
    return super.shouldHandle(request) && request.url !== '/no';
  }
}

// Members of a server.

const address = server.address();
if (address !== null && typeof address === 'object') {
  const info: WebSocket.AddressInfo = address;
  text.concat(info.address, info.family, info.port.toFixed());
}
server.close();
server.close((error?: Error) => error?.message);
server.options.maxPayload = 1;
server.path = '/other';
const clients: Set<WebSocket> = server.clients;
for (const client of server.clients) if (client.readyState === WebSocket.OPEN) client.send('all');

http.createServer().on('upgrade', (request, socket, head) => {
  const handles: boolean | Promise<boolean> = server.shouldHandle(request);
  if (!handles) return socket.destroy();
  return server.handleUpgrade(request, socket, head, (client, sameRequest) => {
    server.emit('connection', client, sameRequest);
  });
});

server
  .on('connection', function (socket, request) {
    const self: WebSocketServer = this;
    const peer: WebSocket = socket;
    return [self.path, peer.protocol, request.socket.remoteAddress];
  })
  .on('error', (error) => error.message)
  .on('headers', (headers, request) => headers.push(`x-url: ${request.url}`))
  .on('close', () => {})
  .on('listening', () => {})
  .on('wsClientError', (error, socket, request) => socket.end(error.message + request.url))
  .on('anything', (...args) => args.length);

server.once('connection', (socket, request) => socket.send(request.url ?? ''));
server.once('error', (error) => error.message);
server.once('headers', (headers) => headers.length);
server.once('close', () => {});
server.once('listening', () => {});
server.once('wsClientError', (_error, socket) => socket.destroy());
server.once('anything', (...args) => args.length);

server.off('connection', (socket, request) => socket.send(request.url ?? ''));
server.off('error', (error) => error.message);
server.off('headers', (headers) => headers.length);
server.off('close', () => {});
server.off('listening', () => {});
server.off('wsClientError', (_error, socket) => socket.destroy());
server.off('anything', (...args) => args.length);

server.addListener('connection', (socket, request) => socket.send(request.url ?? ''));
server.addListener('error', (error) => error.message);
server.addListener('headers', (headers) => headers.length);
server.addListener('close', () => {});
server.addListener('listening', () => {});
server.addListener('wsClientError', (_error, socket) => socket.destroy());
server.addListener('anything', (...args) => args.length);

server.removeListener('connection', (socket, request) => socket.send(request.url ?? ''));
server.removeListener('error', (error) => error.message);
server.removeListener('headers', (headers) => headers.length);
server.removeListener('close', () => {});
server.removeListener('listening', () => {});
server.removeListener('wsClientError', (_error, socket) => socket.destroy());
server.removeListener('anything', (...args) => args.length);

function greetAll<T extends typeof WebSocket>(target: WebSocket.Server<T>): void {
  target.addListener('connection', (socket, request) => socket.send(request.url ?? ''));
  target.on('headers', (headers) => headers.length);
}

// Streams.

const duplex: stream.Duplex = createWebSocketStream(plain, { encoding: 'utf8' });
process.stdin.pipe(WebSocket.createWebSocketStream(named)).pipe(process.stdout);

// A stand-in for the class, as tests of applications write it.

const stub: Pick<WebSocket, 'send' | 'close' | 'readyState' | 'binaryType'> = {
  binaryType: 'nodebuffer',
  close: (_code?: number, _data?: string | Buffer) => {},
  readyState: WebSocket.OPEN,
  send: (_data: unknown) => {}
};

type SentData = Parameters<WebSocket['send']>[0];
const sent: SentData = 'text';

export = {
  Chat,
  Owner,
  address,
  aliased,
  amount,
  bare,
  clients,
  constants,
  describeBinaryType,
  describeState,
  detached,
  duplex,
  eventNames,
  finish,
  greetAll,
  header,
  instanceConstants,
  listenerOptions,
  nested,
  paused,
  sameClass,
  sent,
  state,
  stub,
  verifySync,
  withBoth,
  withOptions,
  withProtocol,
  withRequestOptions,
  withUndefined
};
