'use strict';

/** Whether this runtime has the `Blob` class of the web platform. */
const hasBlob = typeof Blob === 'function';

module.exports = {
  /** What `websocket.binaryType` may be set to; the first is the default. */
  BINARY_TYPES: ['nodebuffer', 'arraybuffer', 'fragments', ...(hasBlob ? ['blob'] : [])],

  /** How long, in milliseconds, a closing handshake may take before the socket is destroyed. */
  CLOSE_TIMEOUT: 30_000,

  /** What a peer may make either end hold, unless an option says otherwise. */
  DEFAULT_LIMITS: {
    maxBufferedChunks: 262_144,
    maxFragments: 16_384,
    maxPayload: 104_857_600,
    maxPendingAutoPongs: 60
  },

  EMPTY_BUFFER: Buffer.alloc(0),

  /** The string RFC 6455 (section 1.3) appends to the key of an opening handshake. */
  GUID: '258EAFA5-E914-47DA-95CA-C5AB0DC85B11',

  /** The values of `readyState` by name: the index of a name is its number. */
  READY_STATES: ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'],

  hasBlob,

  /** Marks the listener that an `on<type>` attribute registered. */
  kForOnEventAttribute: Symbol('kIsForOnEventAttribute'),

  /** On a listener made by `addEventListener()`: the handler it was made for. */
  kListener: Symbol('kListener'),

  /** On an error of the receiver: the close code to answer it with. */
  kStatusCode: Symbol('status-code'),

  /** Among the options of a receiver: it is not to be tracked for garbage collection before `_track()` is called. */
  kUntracked: Symbol('untracked'),

  /** On a socket, a receiver and a sender: the `WebSocket` they belong to. */
  kWebSocket: Symbol('websocket'),

  NOOP() {}
};
