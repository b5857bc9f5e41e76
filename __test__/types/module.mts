// An ECMAScript module that names every export of @types/ws. It is only compiled.

import { createServer, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import DefaultWebSocket, { WebSocket, WebSocketServer, createWebSocketStream } from 'ws';
import type {
  AddressInfo,
  CertMeta,
  ClientOptions,
  CloseEvent,
  Data,
  ErrorEvent,
  Event,
  EventListenerOptions,
  FinishRequestCallback,
  MessageEvent,
  PerMessageDeflateOptions,
  RawData,
  Server,
  ServerOptions,
  VerifyClientCallbackAsync,
  VerifyClientCallbackSync
} from 'ws';
import * as everything from 'ws';

// An application adds what it keeps on each socket and each server.
declare module 'ws' {
  interface WebSocket {
    isAlive: boolean;
  }
  interface WebSocketServer {
    room?: string;
  }
}

export const socket: WebSocket = new DefaultWebSocket('ws://localhost', ['chat'], {
  perMessageDeflate: false
});
export const fromNamespace = new everything.WebSocket('ws://localhost');
export const sameClass: typeof DefaultWebSocket = WebSocket;
export const isOpen: boolean = socket.readyState === WebSocket.OPEN;

socket.onopen = (event: Event) => event.target.send('text');
socket.onerror = (event: ErrorEvent) => event.message;
socket.onclose = (event: CloseEvent) => event.code;
socket.onmessage = (event: MessageEvent) => {
  const data: Data = event.data;
  return data;
};
socket.on('message', (data: RawData, isBinary: boolean) => isBinary || JSON.parse(data.toString()));
socket.on('message', (data: WebSocket.RawData) => data.toString());
socket.addEventListener('close', (event: DefaultWebSocket.CloseEvent) => event.reason);

const once: EventListenerOptions = { once: true };
socket.addEventListener('open', () => {}, once);

const deflate: PerMessageDeflateOptions = { threshold: 1, zlibDeflateOptions: { level: 9 } };
const finish: FinishRequestCallback = (request, websocket) =>
  websocket.on('open', () => request.end());
export const clientOptions: ClientOptions = {
  checkServerIdentity: (servername: string, cert: CertMeta) => servername === cert,
  finishRequest: finish,
  perMessageDeflate: deflate
};

const verify: VerifyClientCallbackSync = ({ req }) => req.url === '/';
export const verifyLater: VerifyClientCallbackAsync = (info, callback) => callback(info.secure);
export const serverOptions: ServerOptions = { noServer: true, verifyClient: verify };

const http = createServer();
export const server: WebSocketServer = new WebSocketServer({ server: http });
export const asServer: Server = server;
export const roomName: string | undefined = server.room;

server.on('connection', (client, request) => {
  client.isAlive = true;
  client.on('pong', function () {
    this.isAlive = true;
  });
  return request.headers.cookie;
});
server.clients.forEach((client) => {
  if (!client.isAlive) return client.terminate();
  client.isAlive = false;
  return client.ping();
});
http.on('upgrade', (request: IncomingMessage, duplex: Duplex, head: Buffer) => {
  server.handleUpgrade(request, duplex, head, (client) => {
    server.emit('connection', client, request, { id: 1 });
  });
});

const address = server.address() as AddressInfo;
export const origin = `ws://localhost:${address.port}`;

export class Peer extends WebSocket {
  name = 'peer';
}
export const peers = new WebSocketServer<typeof Peer, typeof IncomingMessage>({ WebSocket: Peer });
peers.on('connection', (peer) => peer.name.toUpperCase());

export class Gateway extends WebSocketServer {
  constructor() {
    super({ port: 0 });
    this.on('connection', (client) => client.send('welcome'));
  }
}

export const stream: Duplex = createWebSocketStream(socket, { allowHalfOpen: false });

// @ts-expect-error there is no such export
everything.WebsocketServer;
// @ts-expect-error a socket cannot be sent
socket.send(socket);
