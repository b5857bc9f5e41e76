'use strict';

const { net } = require('./builtins');
const native = require('./native');
const { NativeConnection, start } = require('./native-connection');
const { isWatched, kNative, putOn } = require('./native-socket');

/*
 * The transport for plain TCP and Unix-domain sockets: Rust reads and writes the socket's descriptor, on Node's own loop
 * or on threads of its own, past the stream machinery. The socket stays a real net.Socket, with everything that is known
 * of it told truthfully. Whoever touches its byte stream gets it back: from then on the stream transport carries on where
 * this one stood.
 */

/** Takes the place of a handle's `readStart()` while Rust reads its bytes. */
const readNothing = () => 0;

/**
 * Whether a socket can be taken over: a plain one, connected, that nobody has laid hands on.
 *
 * @param {import('stream').Duplex} socket
 * @returns {boolean}
 */
function isEligible(socket) {
  if (Object.getPrototypeOf(socket) !== net.Socket.prototype) return false;
  const handle = socket._handle;
  return (
    !!handle &&
    typeof handle.fd === 'number' &&
    handle.fd >= 0 &&
    !socket.destroyed &&
    !socket.errored &&
    !socket.writableEnded &&
    !socket.readableEnded &&
    !socket._readableState.ended &&
    socket._writableState.length === 0 &&
    !socket._writableState.corked &&
    !socket.isPaused() &&
    socket._readableState.encoding === null &&
    socket.listenerCount('data') === 0 &&
    socket.listenerCount('readable') === 0 &&
    !isWatched(socket)
  );
}

/**
 * Takes a socket over, if that can be done.
 *
 * @param {import('stream').Duplex} socket
 * @param {Buffer} head what it delivered beyond the handshake
 * @param {import('./receiver')} receiver
 * @param {import('./sender')} sender
 * @param {Function} onData the listener of `'data'` to use when the stream is handed back
 * @returns {boolean}
 */
function takeOver(socket, head, receiver, sender, onData) {
  if (!isEligible(socket) || !start()) return false;
  const handle = socket._handle;
  handle.readStop();
  // What resumes the stream must not make Node read the bytes that Rust waits for.
  handle.readStart = readNothing;
  const buffered = socket._readableState.length > 0 ? socket.read() : null;
  if (buffered !== null) head = Buffer.concat([head, buffered]);
  let connection;
  try {
    connection = new NativeConnection(
      socket,
      head.length > 0 ? head : null,
      receiver,
      sender,
      onData
    );
  } catch {
    // The descriptor cannot be shared (there may be none left): Node goes on reading.
    delete handle.readStart;
    // The stream believes that it does, so it would not ask.
    if (handle.reading) handle.readStart();
    if (buffered !== null) socket.unshift(buffered);
    return false;
  }
  putOn(socket, connection);
  if (!handle.hasRef()) native.nativeRef(connection.id, false);
  receiver._connection = connection;
  sender._outbox = connection.outbox;
  socket._readableState.flowing = true;
  if (connection.head !== null) connection.beginLater();
  return true;
}

/**
 * Throws away what still comes on a native socket.
 *
 * @param {import('stream').Duplex} socket
 */
function discard(socket) {
  if (socket[kNative]) socket[kNative].discard();
}

module.exports = { discard, takeOver };
