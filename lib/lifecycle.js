'use strict';

const Receiver = require('./receiver');
const Sender = require('./sender');
const {
  EMPTY_BUFFER,
  NOOP,
  READY_STATES,
  kStatusCode,
  kUntracked,
  kWebSocket
} = require('./constants');
const { attachOutbox } = require('./stream-transport');
const { throwLater } = require('./failure');
const { lateInput } = require('./native-leftovers');
const { closed, opened } = require('./open-connections');
const { discard, takeOver } = require('./native-transport');

/*
 * The life of an open WebSocket: how it follows what its socket, its receiver and its sender tell, from the end of the
 * opening handshake to the 'close' event.
 */

const [, OPEN, CLOSING, CLOSED] = READY_STATES.keys();

/**
 * Connects a WebSocket with its socket.
 *
 * @param {import('./websocket')} websocket
 * @param {import('stream').Duplex} socket
 * @param {Buffer} head what the socket delivered beyond the handshake
 * @param {object} options
 */
function attach(websocket, socket, head, options) {
  const {
    allowSynchronousEvents,
    maxBufferedChunks,
    maxFragments,
    maxPayload,
    skipUTF8Validation
  } = options;
  const receiver = new Receiver({
    allowSynchronousEvents,
    binaryType: websocket.binaryType,
    extensions: websocket._extensions,
    isServer: websocket._isServer,
    maxBufferedChunks,
    maxFragments,
    maxPayload,
    skipUTF8Validation,
    [kUntracked]: true
  });
  const sender = new Sender(socket, websocket._extensions, options.generateMask);

  websocket._receiver = receiver;
  websocket._sender = sender;
  websocket._socket = socket;
  receiver[kWebSocket] = websocket;
  sender[kWebSocket] = websocket;
  socket[kWebSocket] = websocket;

  receiver.on('conclude', receiverOnConclude);
  receiver.on('drain', receiverOnDrain);
  receiver.on('error', receiverOnError);
  receiver.on('message', receiverOnMessage);
  receiver._onMessage = receiverOnMessage;
  receiver.on('ping', receiverOnPing);
  receiver.on('pong', receiverOnPong);
  sender.onerror = senderOnError;

  // A Duplex need not have these.
  if (socket.setTimeout) socket.setTimeout(0);
  if (socket.setNoDelay) socket.setNoDelay();

  if (!takeOver(socket, head, receiver, sender, socketOnData)) {
    receiver._track();
    if (head.length > 0) socket.unshift(head);
    attachOutbox(sender, socket);
    socket.on('data', socketOnData);
  }
  socket.on('close', socketOnClose);
  socket.on('end', socketOnEnd);
  socket.on('error', socketOnError);
  opened();
}

/**
 * Gives the peer a limited time to finish the closing handshake.
 *
 * @param {import('./websocket')} websocket
 */
function startCloseTimer(websocket) {
  const socket = websocket._socket;
  websocket._closeTimer = setTimeout(() => socket.destroy(), websocket._closeTimeout);
}

/** Reads what still arrives on a socket, and throws it away. */
function drainAway(socket) {
  discard(socket);
  socket.removeListener('data', socketOnData);
  process.nextTick(() => socket.resume());
}

function emitError(websocket, error) {
  if (websocket._errorEmitted) return;
  websocket._errorEmitted = true;
  websocket.emit('error', error);
}

// The receiver.

function receiverOnConclude(code, reason) {
  const websocket = this[kWebSocket];
  const socket = websocket._socket;

  websocket._closeFrameReceived = true;
  websocket._closeCode = code;
  websocket._closeMessage = reason.length === 0 ? EMPTY_BUFFER : ownCopy(reason);
  if (socket[kWebSocket] === undefined) return;

  drainAway(socket);
  if (code === 1005) websocket.close();
  else websocket.close(code, reason);
}

/** A copy that keeps nothing else alive. */
function ownCopy(bytes) {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

function receiverOnDrain() {
  const websocket = this[kWebSocket];
  if (!websocket.isPaused) websocket._socket.resume();
}

function receiverOnError(error) {
  const websocket = this[kWebSocket];
  if (websocket._socket[kWebSocket] !== undefined) {
    drainAway(websocket._socket);
    websocket.close(error[kStatusCode]);
  }
  try {
    emitError(websocket, error);
  } catch (thrown) {
    if (!this.listeners('error').includes(receiverOnFinish)) throw thrown;
    // It must not keep the WebSocket from being closed.
    throwLater(thrown);
  }
}

/** The last thing the receiver does after its socket has closed. */
function receiverOnFinish() {
  this[kWebSocket].emitClose();
}

function receiverOnMessage(data, isBinary) {
  this[kWebSocket].emit('message', data, isBinary);
}

function receiverOnPing(data) {
  const websocket = this[kWebSocket];
  if (websocket._autoPong && websocket.readyState === OPEN) answerPing(websocket, data);
  websocket.emit('ping', data);
}

/** Answers a ping, unless the peer sends pings and does not take the answers. */
function answerPing(websocket, data) {
  const { _maxPendingAutoPongs: most, _pendingAutoPongs: pending } = websocket;
  if (most > 0 && pending >= most) {
    websocket.terminate();
    return;
  }
  websocket._pendingAutoPongs++;
  websocket._autoPongComplete ??= () => {
    websocket._pendingAutoPongs--;
  };
  websocket.pong(data, !websocket._isServer, websocket._autoPongComplete);
}

function receiverOnPong(data) {
  this[kWebSocket].emit('pong', data);
}

// The sender.

/** A Blob could not be read: what was sent before it still goes out, then the connection ends. */
function senderOnError(error) {
  const websocket = this[kWebSocket];
  if (websocket.readyState === CLOSED) return;
  if (websocket.readyState === OPEN) {
    websocket._readyState = CLOSING;
    startCloseTimer(websocket);
  }
  this._socket.end();
  emitError(websocket, error);
}

// The socket.

function socketOnData(chunk) {
  try {
    if (!this[kWebSocket]._receiver.write(chunk)) this.pause();
  } catch (error) {
    // A stream that hands out what it has collected stops there when something is thrown through it.
    if (this._readableState.length === 0) throw error;
    throwLater(error);
  }
}

/** Ends a receiver, unless it has finished: that would make an error, with its stack, that nobody gets to see. */
function endReceiver(receiver) {
  if (!receiver._writableState.finished) receiver.end();
}

function socketOnEnd() {
  const websocket = this[kWebSocket];
  websocket._readyState = CLOSING;
  endReceiver(websocket._receiver);
  this.end();
}

function socketOnError() {
  const websocket = this[kWebSocket];
  this.removeListener('error', socketOnError);
  this.on('error', NOOP);
  if (websocket) {
    websocket._readyState = CLOSING;
    this.destroy();
  }
}

function socketOnClose() {
  const websocket = this[kWebSocket];
  const receiver = websocket._receiver;

  this.removeListener('close', socketOnClose);
  this.removeListener('data', socketOnData);
  this.removeListener('end', socketOnEnd);
  websocket._readyState = CLOSING;

  // A paused socket may be destroyed with data that nobody has seen yet.
  const { endEmitted, length } = this._readableState;
  const unseen = length > 0 ? this.read(length) : lateInput(this);
  const isWanted = !websocket._closeFrameReceived && !receiver._writableState.errorEmitted;
  if (!endEmitted && isWanted && unseen && unseen.length > 0) {
    try {
      receiver.write(unseen);
    } catch (error) {
      // What a listener throws must not keep the WebSocket from being closed.
      throwLater(error);
    }
  }
  endReceiver(receiver);

  this[kWebSocket] = undefined;
  clearTimeout(websocket._closeTimer);
  closed();

  if (receiver._writableState.finished || receiver._writableState.errorEmitted) {
    websocket.emitClose();
  } else {
    receiver.on('error', receiverOnFinish);
    receiver.on('finish', receiverOnFinish);
  }
}

module.exports = { attach, startCloseTimer };
