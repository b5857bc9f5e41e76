/// <reference types="node" />

import { EventEmitter } from 'events';
import {
  Agent,
  ClientRequest,
  ClientRequestArgs,
  IncomingMessage,
  OutgoingHttpHeaders,
  Server as HttpServer
} from 'http';
import { Server as HttpsServer } from 'https';
import { createConnection } from 'net';
import { Duplex, DuplexOptions, Writable } from 'stream';
import { SecureContextOptions } from 'tls';
import { URL } from 'url';
import { ZlibOptions } from 'zlib';

// Everything that compiles against @types/ws 8.18 compiles against this file, which is why some types
// are narrower than what the package does: what a program reads keeps the type it had there. The tests
// compile one program against both.

/** What can be sent: anything `Buffer.from()` takes, and a Blob. A number goes out as its digits. */
type Sendable =
  | string
  | number
  | Blob
  | ArrayBuffer
  | SharedArrayBuffer
  | ArrayBufferView
  | readonly any[]
  | { valueOf(): string | ArrayBuffer | SharedArrayBuffer | Uint8Array | readonly number[] }
  | { [Symbol.toPrimitive](hint: string): string };

/** Called when a frame was handed to the network, or with the reason why it was not. */
type SendCallback = (error?: Error) => void;

/** The same for a ping or a pong. When it was sent there is no error, though @types/ws says that there always is. */
type FrameCallback = (error: Error) => void;

interface SendOptions {
  /** Whether the message is binary. By default a string or number is text, anything else binary. */
  binary?: boolean | undefined;
  /** Whether to compress, when both sides agreed on permessage-deflate. Default: true. */
  compress?: boolean | undefined;
  /** Whether this completes the message; if not, the next `send()` continues it. Default: true. */
  fin?: boolean | undefined;
  /** Whether to mask the payload. Default: true on a client, false on a server. */
  mask?: boolean | undefined;
}

// The listeners of each event, which `on`, `once`, `off` and their older names share. `This` is what
// a listener finds as `this`; the older names leave it open.

interface SocketListeners<This = WebSocket> {
  close: (this: This, code: number, reason: Buffer) => void;
  error: (this: This, error: Error) => void;
  upgrade: (this: This, response: IncomingMessage) => void;
  message: (this: This, data: WebSocket.RawData, isBinary: boolean) => void;
  open: (this: This) => void;
  ping: (this: This, data: Buffer) => void;
  redirect: (this: This, url: string, request: ClientRequest) => void;
  refused: (this: This, request: ClientRequest, response: IncomingMessage) => void;
  other: (this: This, ...args: any[]) => void;
}

interface ServerListeners<
  T extends typeof WebSocket,
  U extends typeof IncomingMessage,
  This = WebSocket.Server<T>
> {
  connection: (this: This, websocket: InstanceType<T>, request: InstanceType<U>) => void;
  error: (this: This, error: Error) => void;
  headers: (this: This, headers: string[], request: InstanceType<U>) => void;
  close: (this: This) => void;
  failed: (this: This, error: Error, socket: Duplex, request: InstanceType<U>) => void;
  other: (this: This, ...args: any[]) => void;
}

/** A WebSocket connection: a client when constructed with an address, else one of a server's. */
declare class WebSocket extends EventEmitter {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSING: 2;
  static readonly CLOSED: 3;

  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSING: 2;
  readonly CLOSED: 3;

  /**
   * What binary messages arrive as. `'fragments'` gives the buffers as they came, unjoined.
   * `'blob'` works at run time, and such a message is a `Blob`; as in `@types/ws`, the type does
   * not name it.
   */
  binaryType: 'nodebuffer' | 'arraybuffer' | 'fragments';
  /** Bytes handed to `send()`, frame headers included, that have not reached the network. */
  readonly bufferedAmount: number;
  /** The extensions both sides agreed on, as in the Sec-WebSocket-Extensions header. */
  readonly extensions: string;
  /** Whether `pause()` has stopped reading. */
  readonly isPaused: boolean;
  /** The subprotocol the server chose, or an empty string. */
  readonly protocol: string;
  /** `CONNECTING`, `OPEN`, `CLOSING` or `CLOSED`. */
  readonly readyState: 0 | 1 | 2 | 3;
  /** The address a client connects to. */
  readonly url: string;

  onopen: ((event: WebSocket.Event) => void) | null;
  onerror: ((event: WebSocket.ErrorEvent) => void) | null;
  onclose: ((event: WebSocket.CloseEvent) => void) | null;
  onmessage: ((event: WebSocket.MessageEvent) => void) | null;

  /** A socket without an address: something else, such as a server, completes its handshake. */
  constructor(address: null, protocols?: undefined, options?: WebSocket.ClientOptions);
  constructor(address: string | URL, options?: WebSocket.ClientOptions | ClientRequestArgs);
  constructor(
    address: string | URL,
    protocols?: string | string[],
    options?: WebSocket.ClientOptions | ClientRequestArgs
  );

  /**
   * Starts the closing handshake (RFC 6455, section 7). `code` is 1000 to 1014 without 1004 to 1006, or
   * 3000 to 4999; `data`, the reason, takes at most 123 bytes.
   */
  close(code?: number, data?: string | Uint8Array): void;
  /** Sends a ping with at most 125 bytes. Pongs come as `'pong'` events. `data` and `mask` may be left out. */
  ping(data?: any, mask?: boolean | FrameCallback, cb?: FrameCallback): void;
  /** Sends a pong, with the same arguments as `ping()`. Pings are answered without it, see `autoPong`. */
  pong(data?: any, mask?: boolean | FrameCallback, cb?: FrameCallback): void;
  /** Sends a message. Throws while connecting; once closing, only `cb` is told that it is too late. */
  send(data: Sendable, cb?: SendCallback): void;
  send(data: Sendable, options: SendOptions, cb?: SendCallback): void;
  /** Drops the connection without a closing handshake. */
  terminate(): void;

  /** Stops reading. What was received already may still be emitted. */
  pause(): void;
  /** Goes on reading. */
  resume(): void;

  /** As in a browser: the listener gets an event object, and text as a string. */
  addEventListener<K extends keyof WebSocket.WebSocketEventMap>(
    type: K,
    listener:
      | ((event: WebSocket.WebSocketEventMap[K]) => void)
      | { handleEvent(event: WebSocket.WebSocketEventMap[K]): void },
    options?: WebSocket.EventListenerOptions
  ): void;
  removeEventListener<K extends keyof WebSocket.WebSocketEventMap>(
    type: K,
    listener:
      | ((event: WebSocket.WebSocketEventMap[K]) => void)
      | { handleEvent(event: WebSocket.WebSocketEventMap[K]): void }
  ): void;

  /** The connection is closed: 1005 stands for a close frame without a code, 1006 for no close frame. */
  on(event: 'close', listener: SocketListeners['close']): this;
  /** The handshake or the connection failed; `'close'` follows. What the peer did wrong has a `code`, `WS_ERR_...`. */
  on(event: 'error', listener: SocketListeners['error']): this;
  /** A client has got the server's answer to its handshake. */
  on(event: 'upgrade', listener: SocketListeners['upgrade']): this;
  /** A message has arrived, text as bytes too; `isBinary` tells which it was. */
  on(event: 'message', listener: SocketListeners['message']): this;
  /** The connection is open. */
  on(event: 'open', listener: SocketListeners['open']): this;
  /** A ping or a pong has arrived. */
  on(event: 'ping' | 'pong', listener: SocketListeners['ping']): this;
  /** A client is about to follow a redirect to `url`; `request` may still be changed. */
  on(event: 'redirect', listener: SocketListeners['redirect']): this;
  /** A server has answered with something else than an upgrade. A listener must end the request itself. */
  on(event: 'unexpected-response', listener: SocketListeners['refused']): this;
  on(event: string | symbol, listener: SocketListeners['other']): this;

  once(event: 'close', listener: SocketListeners['close']): this;
  once(event: 'error', listener: SocketListeners['error']): this;
  once(event: 'upgrade', listener: SocketListeners['upgrade']): this;
  once(event: 'message', listener: SocketListeners['message']): this;
  once(event: 'open', listener: SocketListeners['open']): this;
  once(event: 'ping' | 'pong', listener: SocketListeners['ping']): this;
  once(event: 'redirect', listener: SocketListeners['redirect']): this;
  once(event: 'unexpected-response', listener: SocketListeners['refused']): this;
  once(event: string | symbol, listener: SocketListeners['other']): this;

  off(event: 'close', listener: SocketListeners['close']): this;
  off(event: 'error', listener: SocketListeners['error']): this;
  off(event: 'upgrade', listener: SocketListeners['upgrade']): this;
  off(event: 'message', listener: SocketListeners['message']): this;
  off(event: 'open', listener: SocketListeners['open']): this;
  off(event: 'ping' | 'pong', listener: SocketListeners['ping']): this;
  off(event: 'redirect', listener: SocketListeners['redirect']): this;
  off(event: 'unexpected-response', listener: SocketListeners['refused']): this;
  off(event: string | symbol, listener: SocketListeners['other']): this;

  addListener(event: 'close', listener: SocketListeners<any>['close']): this;
  addListener(event: 'error', listener: SocketListeners<any>['error']): this;
  addListener(event: 'upgrade', listener: SocketListeners<any>['upgrade']): this;
  addListener(event: 'message', listener: SocketListeners<any>['message']): this;
  addListener(event: 'open', listener: SocketListeners<any>['open']): this;
  addListener(event: 'ping' | 'pong', listener: SocketListeners<any>['ping']): this;
  addListener(event: 'redirect', listener: SocketListeners<any>['redirect']): this;
  addListener(event: 'unexpected-response', listener: SocketListeners<any>['refused']): this;
  addListener(event: string | symbol, listener: SocketListeners<any>['other']): this;

  removeListener(event: 'close', listener: SocketListeners<any>['close']): this;
  removeListener(event: 'error', listener: SocketListeners<any>['error']): this;
  removeListener(event: 'upgrade', listener: SocketListeners<any>['upgrade']): this;
  removeListener(event: 'message', listener: SocketListeners<any>['message']): this;
  removeListener(event: 'open', listener: SocketListeners<any>['open']): this;
  removeListener(event: 'ping' | 'pong', listener: SocketListeners<any>['ping']): this;
  removeListener(event: 'redirect', listener: SocketListeners<any>['redirect']): this;
  removeListener(event: 'unexpected-response', listener: SocketListeners<any>['refused']): this;
  removeListener(event: string | symbol, listener: SocketListeners<any>['other']): this;
}

// Inside the namespace the name WebSocket is the member; these still mean the class.
type WebSocketClass = typeof WebSocket;
interface WebSocketInstance extends WebSocket {}

declare namespace WebSocket {
  /** A message as the 'message' event gives it. */
  type RawData = Buffer | ArrayBuffer | Buffer[];

  /** A message as `onmessage` and its like give it: text is a string there. */
  type Data = string | Buffer | ArrayBuffer | Buffer[];

  /** A certificate or a key, or several. */
  type CertMeta = string | string[] | Buffer | Buffer[];

  /** Accepts or refuses a handshake by what it returns. */
  type VerifyClientCallbackSync<Request extends IncomingMessage = IncomingMessage> = (info: {
    origin: string;
    secure: boolean;
    req: Request;
  }) => boolean;

  /** Accepts or refuses a handshake through `callback`, in its own time. */
  type VerifyClientCallbackAsync<Request extends IncomingMessage = IncomingMessage> = (
    info: { origin: string; secure: boolean; req: Request },
    callback: (
      accept: boolean,
      code?: number,
      message?: string,
      headers?: OutgoingHttpHeaders
    ) => void
  ) => void;

  /** Completes a client's HTTP request; it must call `request.end()`. */
  type FinishRequestCallback = (request: ClientRequest, websocket: WebSocketInstance) => void;

  /** What clients and servers have in common. */
  interface SharedOptions {
    /** Whether several messages, pings and pongs may be emitted in one turn. Default: true. */
    allowSynchronousEvents?: boolean | undefined;
    /** Whether pings are answered. Default: true. */
    autoPong?: boolean | undefined;
    /** Milliseconds that a closing handshake may take before the socket is dropped. Default: 30000. */
    closeTimeout?: number | undefined;
    /** Most received chunks held for an unfinished frame; 0 is no limit. Default: 262144. */
    maxBufferedChunks?: number | undefined;
    /** Most fragments a message may have; 0 is no limit. Default: 16384. */
    maxFragments?: number | undefined;
    /** Most bytes a message may have, also inflated, up to 2147483647; 0 is no limit. Default: 104857600. */
    maxPayload?: number | undefined;
    /** Most automatic pongs waiting to be sent; one more drops the connection; 0 is no limit. Default: 60. */
    maxPendingAutoPongs?: number | undefined;
    /** Whether, and how, to compress (RFC 7692). Default: true for clients, false for servers. */
    perMessageDeflate?: boolean | PerMessageDeflateOptions | undefined;
    /** Whether text and close reasons are taken unchecked. Default: false. */
    skipUTF8Validation?: boolean | undefined;
  }

  /**
   * What a client takes. The options of `http.request()`, and for `wss:` those of `tls.connect()`, are passed on,
   * unless they follow from the address.
   */
  interface ClientOptions extends SharedOptions, SecureContextOptions {
    /** Makes or lends the connection, as for `http.request()`. */
    agent?: Agent | undefined;
    /** Checks the name in the server's certificate, as for `tls.connect()`. */
    checkServerIdentity?(servername: string, cert: CertMeta): boolean;
    /** Makes the connection. Default: `net.connect()` or `tls.connect()`. */
    createConnection?: typeof createConnection | undefined;
    /** The version of IP, 4 or 6, that a host name is looked up for. Default: both. */
    family?: number | undefined;
    /** Completes the request, which is sent when this calls `request.end()`. Default: it is sent as it is. */
    finishRequest?: FinishRequestCallback | undefined;
    /** Whether redirects are followed, without credentials to another server. Default: false. */
    followRedirects?: boolean | undefined;
    /** Fills the 4 bytes of a masking key. Default: random bytes. */
    generateMask?(mask: Buffer): void;
    /** Milliseconds that the opening handshake may take, anew after each redirect. Default: no limit. */
    handshakeTimeout?: number | undefined;
    /** Headers to add to the request. */
    headers?: { [name: string]: string } | undefined;
    /** Has no effect: it follows from the address. */
    host?: string | undefined;
    /** The local address to connect from, as for `net.connect()`. */
    localAddress?: string | undefined;
    /** Most redirects that are followed. Default: 10. */
    maxRedirects?: number | undefined;
    /** The Origin header, in version 8 Sec-WebSocket-Origin. Default: none. */
    origin?: string | undefined;
    /** Has no effect: it follows from the address. For subprotocols see `protocols`. */
    protocol?: string | undefined;
    /** The subprotocols to offer, for code that cannot give the constructor's second argument. */
    protocols?: string | string[] | undefined;
    /** The Sec-WebSocket-Version header, 8 or 13. Default: 13. */
    protocolVersion?: number | undefined;
    /** Whether a certificate that cannot be verified is refused, as for `tls.connect()`. Default: true. */
    rejectUnauthorized?: boolean | undefined;
  }

  /** The parameters of permessage-deflate (RFC 7692, section 7.1), and how the compression is done. */
  interface PerMessageDeflateOptions {
    /** Whether the server begins each message with an empty context; false refuses to. Default: if asked to. */
    serverNoContextTakeover?: boolean | undefined;
    /** Whether the client does; false refuses to. Default: if asked to. */
    clientNoContextTakeover?: boolean | undefined;
    /** The server's window, as a power of two: 8 to 15. Default: 15. */
    serverMaxWindowBits?: number | undefined;
    /** The client's window, as a power of two: 8 to 15. By default a client leaves it to the server, up to 15. */
    clientMaxWindowBits?: number | undefined;
    /** As for `node:zlib`; `level` (default: 3), `memLevel` (default: 8, or 6), `strategy`, `dictionary` have an effect. */
    zlibDeflateOptions?:
      | {
          flush?: number | undefined;
          finishFlush?: number | undefined;
          chunkSize?: number | undefined;
          windowBits?: number | undefined;
          level?: number | undefined;
          memLevel?: number | undefined;
          strategy?: number | undefined;
          dictionary?: Buffer | Buffer[] | DataView | undefined;
          info?: boolean | undefined;
        }
      | undefined;
    /** As for `node:zlib`; `dictionary` has an effect. */
    zlibInflateOptions?: ZlibOptions | undefined;
    /**
     * Messages below this many bytes go out as they are if our side begins each message with an empty context.
     * Default: 1024.
     */
    threshold?: number | undefined;
    /** Most large messages (de)compressed at once, in the whole process; the first one set counts. Default: 10. */
    concurrencyLimit?: number | undefined;
  }

  /** The event of `onopen`. */
  interface Event {
    type: string;
    target: WebSocketInstance;
  }

  /** The event of `onerror`. */
  interface ErrorEvent {
    type: string;
    target: WebSocketInstance;
    error: any;
    message: string;
  }

  /** The event of `onclose`. `wasClean` tells whether both sides sent a close frame. */
  interface CloseEvent {
    type: string;
    target: WebSocketInstance;
    code: number;
    reason: string;
    wasClean: boolean;
  }

  /** The event of `onmessage`. */
  interface MessageEvent {
    type: string;
    target: WebSocketInstance;
    data: Data;
  }

  interface WebSocketEventMap {
    open: Event;
    error: ErrorEvent;
    close: CloseEvent;
    message: MessageEvent;
  }

  interface EventListenerOptions {
    /** Whether the listener is called once at most. Default: false. */
    once?: boolean | undefined;
  }

  /** What a server takes. Exactly one of `port`, `server` and `noServer` is required. */
  interface ServerOptions<
    U extends WebSocketClass = WebSocketClass,
    V extends typeof IncomingMessage = typeof IncomingMessage
  > extends SharedOptions {
    /** Most connections that wait to be accepted, as for `server.listen()`. Default: 511. */
    backlog?: number | undefined;
    /** Whether `clients` is kept. Default: true. */
    clientTracking?: boolean | undefined;
    /** Chooses one of the offered subprotocols, or `false` for none. Default: the first. */
    handleProtocols?: (protocols: Set<string>, request: InstanceType<V>) => string | false;
    /** The address that goes with `port`. Default: all addresses of the machine. */
    host?: string | undefined;
    /** Whether somebody else hands the upgrades in, by `handleUpgrade()`. Default: false. */
    noServer?: boolean | undefined;
    /** The one path that this server serves. Default: all. */
    path?: string | undefined;
    /** The port of an HTTP server of its own; 0 is any that is free. */
    port?: number | undefined;
    /** An HTTP server that exists, whose upgrades are taken. */
    server?: HttpServer<V> | HttpsServer<V> | undefined;
    /** Accepts or refuses handshakes; with two parameters by calling back. Default: all are accepted. */
    verifyClient?:
      | VerifyClientCallbackAsync<InstanceType<V>>
      | VerifyClientCallbackSync<InstanceType<V>>
      | undefined;
    /** The class of the server's sockets. Default: `WebSocket`. */
    WebSocket?: U | undefined;
  }

  /** Where a server listens, as `server.address()` tells. */
  interface AddressInfo {
    address: string;
    family: string;
    port: number;
  }

  /** A WebSocket server, with an HTTP server of its own or on one that exists. */
  class Server<
    T extends WebSocketClass = WebSocketClass,
    U extends typeof IncomingMessage = typeof IncomingMessage
  > extends EventEmitter {
    options: ServerOptions<T, U>;
    /** Declared by @types/ws; there is no such property at run time. The path is in `options.path`. */
    path: string;
    /** The open connections; absent with `clientTracking: false`. */
    clients: Set<InstanceType<T>>;

    constructor(options?: ServerOptions<T, U>, callback?: () => void);

    /** Where the HTTP server listens; null once closed. Throws with `noServer`. */
    address(): AddressInfo | string | null;
    /** Takes no more connections; those that exist stay, and `'close'` comes after the last of them. */
    close(cb?: (error?: Error) => void): void;
    /** Answers an HTTP server's `'upgrade'` event: with a WebSocket for `callback`, or by refusing. */
    handleUpgrade(
      request: InstanceType<U>,
      socket: Duplex,
      upgradeHead: Buffer,
      callback: (client: InstanceType<T>, request: InstanceType<U>) => void
    ): void;
    /** Whether this server serves the request. Made to be overridden. */
    shouldHandle(request: InstanceType<U>): boolean | Promise<boolean>;

    /** A handshake is complete. */
    on(event: 'connection', cb: ServerListeners<T, U>['connection']): this;
    /** The HTTP server has failed. */
    on(event: 'error', cb: ServerListeners<T, U>['error']): this;
    /** The lines of the answer to a handshake, which may be changed, before they are sent. */
    on(event: 'headers', cb: ServerListeners<T, U>['headers']): this;
    /** The HTTP server listens; or the server is closed and has no connections left. */
    on(event: 'close' | 'listening', cb: ServerListeners<T, U>['close']): this;
    /** A handshake was at fault. With a listener it must answer and close the socket itself. */
    on(event: 'wsClientError', cb: ServerListeners<T, U>['failed']): this;
    on(event: string | symbol, listener: ServerListeners<T, U>['other']): this;

    once(event: 'connection', cb: ServerListeners<T, U>['connection']): this;
    once(event: 'error', cb: ServerListeners<T, U>['error']): this;
    once(event: 'headers', cb: ServerListeners<T, U>['headers']): this;
    once(event: 'close' | 'listening', cb: ServerListeners<T, U>['close']): this;
    once(event: 'wsClientError', cb: ServerListeners<T, U>['failed']): this;
    once(event: string | symbol, listener: ServerListeners<T, U>['other']): this;

    off(event: 'connection', cb: ServerListeners<T, U>['connection']): this;
    off(event: 'error', cb: ServerListeners<T, U>['error']): this;
    off(event: 'headers', cb: ServerListeners<T, U>['headers']): this;
    off(event: 'close' | 'listening', cb: ServerListeners<T, U>['close']): this;
    off(event: 'wsClientError', cb: ServerListeners<T, U>['failed']): this;
    off(event: string | symbol, listener: ServerListeners<T, U>['other']): this;

    addListener(event: 'connection', cb: ServerListeners<T, U, any>['connection']): this;
    addListener(event: 'error', cb: ServerListeners<T, U, any>['error']): this;
    addListener(event: 'headers', cb: ServerListeners<T, U, any>['headers']): this;
    addListener(event: 'close' | 'listening', cb: ServerListeners<T, U, any>['close']): this;
    addListener(event: 'wsClientError', cb: ServerListeners<T, U, any>['failed']): this;
    addListener(event: string | symbol, listener: ServerListeners<T, U, any>['other']): this;

    removeListener(event: 'connection', cb: ServerListeners<T, U, any>['connection']): this;
    removeListener(event: 'error', cb: ServerListeners<T, U, any>['error']): this;
    removeListener(event: 'headers', cb: ServerListeners<T, U, any>['headers']): this;
    removeListener(event: 'close' | 'listening', cb: ServerListeners<T, U, any>['close']): this;
    removeListener(event: 'wsClientError', cb: ServerListeners<T, U, any>['failed']): this;
    removeListener(event: string | symbol, listener: ServerListeners<T, U, any>['other']): this;
  }

  const WebSocketServer: typeof Server;
  interface WebSocketServer<
    T extends WebSocketClass = WebSocketClass,
    U extends typeof IncomingMessage = typeof IncomingMessage
  > extends Server<T, U> {}

  const WebSocket: WebSocketClass;
  interface WebSocket extends WebSocketInstance {}

  /** A Duplex over a WebSocket: each write is a message out, each message in is a read. */
  function createWebSocketStream(websocket: WebSocketInstance, options?: DuplexOptions): Duplex;

  // The parts a connection is made of. They work on their own.

  /** Reads frames: bytes are written to it, messages are its events. */
  class Receiver extends Writable {
    constructor(options?: ReceiverOptions);
  }

  /** As the options of clients and servers, but nothing is limited by default. */
  interface ReceiverOptions {
    allowSynchronousEvents?: boolean | undefined;
    /** What binary messages arrive as. Default: `'nodebuffer'`. */
    binaryType?: 'nodebuffer' | 'arraybuffer' | 'fragments' | 'blob' | undefined;
    /** The extensions both sides agreed on, by name. */
    extensions?: { [name: string]: PerMessageDeflate } | undefined;
    /** Whether frames must be masked, as those of clients are. Default: false. */
    isServer?: boolean | undefined;
    maxBufferedChunks?: number | undefined;
    maxFragments?: number | undefined;
    maxPayload?: number | undefined;
    skipUTF8Validation?: boolean | undefined;
  }

  /** Writes frames to a stream. */
  class Sender {
    constructor(
      socket: Duplex,
      extensions?: { [name: string]: PerMessageDeflate },
      generateMask?: (mask: Buffer) => void
    );

    /** Makes a frame: its header, and its payload where that is not empty. */
    static frame(data: Buffer | string, options: FrameOptions): (Buffer | string)[];

    close(
      code: number | undefined,
      data: string | Uint8Array | undefined,
      mask: boolean,
      cb?: SendCallback
    ): void;
    ping(data: any, mask: boolean, cb?: SendCallback): void;
    pong(data: any, mask: boolean, cb?: SendCallback): void;
    /** Unlike with `WebSocket.send()`, options that are not given are false. */
    send(data: any, options: SendOptions, cb?: SendCallback): void;
    /** Writes what `frame()` made. */
    sendFrame(list: readonly (Buffer | string)[], cb?: SendCallback): void;
  }

  /** The header of a frame (RFC 6455, section 5.2). What is not given is false. */
  interface FrameOptions {
    opcode: number;
    fin?: boolean | undefined;
    /** Fills the 4 bytes of the masking key. Default: random bytes. */
    generateMask?: ((mask: Buffer) => void) | undefined;
    mask?: boolean | undefined;
    /** Where the masking key is put. */
    maskBuffer?: Buffer | undefined;
    /** Whether the payload must stay as it is, so that masking it makes a copy. */
    readOnly?: boolean | undefined;
    /** Whether the payload is compressed. */
    rsv1?: boolean | undefined;
  }

  /** The permessage-deflate extension: negotiation, compression and decompression. */
  class PerMessageDeflate {
    static readonly extensionName: 'permessage-deflate';

    constructor(
      options?: PerMessageDeflateOptions & {
        isServer?: boolean | undefined;
        maxPayload?: number | undefined;
      }
    );

    /** What both sides agreed on; null before `accept()`. */
    params: { [parameter: string]: string | number | true } | null;

    /** What a client asks for. */
    offer(): { [parameter: string]: string | number | true };
    /** Takes the other side's offers, or its answer, and gives what was agreed on. */
    accept(configurations: ExtensionParameters[]): { [parameter: string]: string | number | true };
    /** Frees what it holds; whoever waits for data gets an error. */
    cleanup(): void;
    /** Compresses a frame, the last one of its message if `fin`. */
    compress(
      data: Buffer | string,
      fin: boolean,
      cb: (error: Error | null, data: Buffer) => void
    ): void;
    /** Decompresses a frame, the last one of its message if `fin`. */
    decompress(data: Buffer, fin: boolean, cb: (error: Error | null, data: Buffer) => void): void;
  }

  /** The parameters of one offer; each has every value it was given. */
  interface ExtensionParameters {
    [parameter: string]: (string | true)[];
  }

  /** The Sec-WebSocket-Extensions header. */
  const extension: {
    /** The offers of each extension, in their order. Throws a `SyntaxError`. */
    parse(header: string): { [name: string]: ExtensionParameters[] };
    /** The header for one or several sets of parameters of each extension. */
    format(extensions: { [name: string]: object | object[] }): string;
  };

  /** The Sec-WebSocket-Protocol header. */
  const subprotocol: {
    /** The names, in their order. Throws a `SyntaxError`. */
    parse(header: string): Set<string>;
  };
}

export = WebSocket;
