'use strict';

const { Duplex } = require('stream');

/**
 * The two ends of `createWebSocketStream()` and what passes between them. Its methods named after
 * events are listeners, those named after the methods of a `Duplex` implement them.
 */
class Bridge {
  /**
   * @param {import('./websocket')} websocket
   * @param {Duplex} duplex
   */
  constructor(websocket, duplex) {
    this.websocket = websocket;
    this.duplex = duplex;

    // An error of the `WebSocket` already has the connection closed, with a close frame if there
    // still can be one. Destroying the socket as well could keep that frame from being sent.
    this.terminateOnDestroy = true;

    /** The error of the duplex that nobody listened for, if there was one. */
    this.unheard = null;
  }

  connect() {
    const { websocket, duplex } = this;

    websocket.on('message', (message, isBinary) => this.onMessage(message, isBinary));
    websocket.once('error', (err) => this.onError(err));
    websocket.once('close', () => this.onClose());

    // Set here rather than passed to the constructor, where an aborted `signal` would already use
    // them.
    duplex._read = () => this.read();
    duplex._write = (chunk, encoding, callback) => this.write(chunk, encoding, callback);
    duplex._final = (callback) => this.final(callback);
    duplex._destroy = (err, callback) => this.destroy(err, callback);

    duplex.on('end', destroyWhenFinished);
    duplex.once('error', (err) => this.onDuplexError(err));
  }

  onMessage(message, isBinary) {
    const { websocket, duplex } = this;
    const asText = !isBinary && duplex._readableState.objectMode;

    try {
      if (!duplex.push(asText ? message.toString() : message)) websocket.pause();
    } catch (thrown) {
      // As in ws, where such a WebSocket never closes. What listeners of others throw is not for it to suffer from.
      if (thrown === this.unheard) websocket._receiver?._abandon?.();
      throw thrown;
    }
  }

  onError(err) {
    if (this.duplex.destroyed) return;

    this.terminateOnDestroy = false;
    this.duplex.destroy(err);
  }

  onClose() {
    if (!this.duplex.destroyed) this.duplex.push(null);
  }

  onDuplexError(err) {
    const { duplex } = this;

    duplex.destroy();
    if (duplex.listenerCount('error') > 0) return;

    // Having listened must not hide an error nobody else listens for.
    this.unheard = err;
    duplex.emit('error', err);
  }

  read() {
    if (this.websocket.isPaused) this.websocket.resume();
  }

  write(chunk, encoding, callback) {
    if (this.isConnecting) {
      this.websocket.once('open', () => this.duplex._write(chunk, encoding, callback));
    } else {
      this.websocket.send(chunk, callback);
    }
  }

  final(callback) {
    const { websocket, duplex } = this;

    if (this.isConnecting) {
      websocket.once('open', () => duplex._final(callback));
      return;
    }

    const socket = websocket._socket;

    // The opening handshake failed. The `'error'` event is about to tell, and nothing else will.
    if (socket === null) return;

    if (socket._writableState.finished) {
      callback();
      if (duplex._readableState.endEmitted) duplex.destroy();
      return;
    }

    // The duplex is destroyed later, by its own `'end'` event, which follows the `'close'` event of
    // `websocket`.
    socket.once('finish', () => callback());
    websocket.close();
  }

  destroy(err, callback) {
    const { websocket, duplex } = this;

    if (websocket.readyState === websocket.CLOSED) {
      callback(err);
      process.nextTick(emitClose, duplex);
      return;
    }

    let failed = false;

    websocket.once('error', (websocketError) => {
      failed = true;
      callback(websocketError);
    });
    websocket.once('close', () => {
      if (!failed) callback(err);
      process.nextTick(emitClose, duplex);
    });

    if (this.terminateOnDestroy) websocket.terminate();
  }

  get isConnecting() {
    return this.websocket.readyState === this.websocket.CONNECTING;
  }
}

/**
 * @param {Duplex} duplex
 */
function emitClose(duplex) {
  duplex.emit('close');
}

/**
 * The listener of the duplex's `'end'` event.
 *
 * @this {Duplex}
 */
function destroyWhenFinished() {
  if (this._writableState.finished && !this.destroyed) this.destroy();
}

/**
 * Wraps a `WebSocket` in a duplex stream: every message is a chunk to read, every chunk written is
 * a message.
 *
 * @param {import('./websocket')} websocket
 * @param {import('stream').DuplexOptions} [options] Options of the stream
 * @returns {Duplex}
 */
function createWebSocketStream(websocket, options) {
  const duplex = new Duplex({
    ...options,
    autoDestroy: false,
    emitClose: false,
    objectMode: false,
    writableObjectMode: false
  });

  new Bridge(websocket, duplex).connect();
  return duplex;
}

module.exports = createWebSocketStream;
