'use strict';

const { Readable } = require('stream');

const native = require('./native');
const { cells, STRIDE, TOP } = require('./inbox');
const { EMPTY_BUFFER } = require('./constants');
const { throwLater } = require('./failure');
const { kNative } = require('./native-socket');
const { keepLast } = require('./pending-items');

/*
 * What has arrived on a native connection and was not told, when its socket is taken over, handed back or destroyed. In ws
 * the socket or the receiver would hold it, and that decides who hears of it:
 *
 * | where               | what                                              | what becomes of it                        |
 * |---------------------|---------------------------------------------------|-------------------------------------------|
 * | `connection.head`   | read by Node before Rust took the socket over     | flows with the socket                     |
 * | `connection.ahead`  | of a destroyed socket that flows in a due tick    | flows in that tick nevertheless           |
 * | `connection.late`   | what ws's receiver would hold while it is told    | the receiver gets it behind that          |
 * | `socket[kLate]`     | what ws's socket would hold when it is destroyed  | is looked at when the socket closes       |
 */

const kLate = Symbol('late input');

/** Whether a stream that is destroyed can still be paused and resumed, as it can up to Node 25. */
const heedsWhenDestroyed = new Readable({ read() {} }).destroy().pause().isPaused();

/** Whether a socket hands what it is given to its listeners at once. */
function passesOn(socket) {
  const { flowing, length, sync } = socket._readableState;
  return flowing && length === 0 && !sync && socket.listenerCount('data') > 0;
}

/** Delivers what the socket had read before it was taken over. */
function deliverHead(connection) {
  const { head, receiver, socket } = connection;
  if (head === null || connection.isLeaving || socket.isPaused()) return;
  connection.head = null;
  connection.isBehindHead = !receiver.write(head) && receiver._writableState.length > 0;
}

/** Has what is left flow until the socket is paused. Then it is seen when that closes. */
function deliverAhead(connection) {
  const { ahead, receiver, socket } = connection;
  connection.ahead = null;
  while (ahead.length > 0 && !socket.isPaused()) deliverLast(receiver, [ahead.shift()]);
  if (ahead.length > 0) socket[kLate] = Buffer.concat(ahead);
}

/** Gives the receiver what it would have held while it was told something. */
function deliverLate(connection) {
  const { late } = connection;
  connection.late = null;
  deliverLast(connection.receiver, late);
}

/** What a listener throws must not keep the socket from being destroyed. Behind a close frame nothing counts. */
function deliverLast(receiver, chunks) {
  for (const chunk of chunks) {
    try {
      if (chunk.length > 0 && !receiver._writableState.ending) receiver.write(chunk);
    } catch (thrown) {
      throwLater(thrown);
    }
  }
}

/**
 * Gives the socket what nobody has got yet, in the chunks in which it would have read it: a flowing one hands them out at
 * once, until a listener has enough.
 */
function putBack(connection, unread) {
  const { socket } = connection;
  const chunks = takeChunks(connection, unread);
  while (chunks.length > 0 && passesOn(socket)) {
    try {
      socket.unshift(chunks.shift());
    } catch (thrown) {
      // What a listener throws must not keep the rest from being told.
      throwLater(thrown);
    }
  }
  while (chunks.length > 0) socket.unshift(chunks.pop());
}

/**
 * The same, while somebody is calling the socket, who is not to be told of anything meanwhile: the socket holds it until
 * {@link flowOn}.
 */
function keepForTick(connection, unread) {
  const { socket } = connection;
  const chunks = takeChunks(connection, unread);
  const { _readableState: state } = socket;
  const { sync } = state;
  // So it hands out nothing, as when it is asked to read.
  state.sync = true;
  while (chunks.length > 0) socket.unshift(chunks.pop());
  state.sync = sync;
}

function takeChunks(connection, unread) {
  const { head } = connection;
  connection.head = null;
  if (connection.isDiscarding) unread = [];
  if (unread.length > 0 && !connection.isIdle()) stall(connection);
  return head === null ? unread : [head, ...unread];
}

/** Has a socket that was handed back pass on what it holds. */
function flowOn({ socket }) {
  if (socket[kNative]) return;
  while (socket._readableState.flowing && socket.read() !== null);
}

/** Has Node read a socket that was handed back, unless the stream has enough. */
function readOn(socket) {
  const { _handle: handle } = socket;
  if (!handle || handle.reading) return;
  if (socket.readableLength < socket.readableHighWaterMark) {
    handle.reading = true;
    handle.readStart();
  } else {
    // It asks for more when it has passed that on, but not while it believes that it waits for some.
    socket._readableState.reading = false;
  }
}

/** The connection is being destroyed: what has arrived before is kept for those who would hear of it. */
function rescue(connection) {
  const flows = connection.isFlowing || connection.head !== null;
  if (flows && !connection.socket.isPaused()) {
    rescueFlowing(connection);
  } else {
    rescueReceived(connection);
    rescueUnread(connection);
  }
}

/** A stream of Node's that is destroyed flows nevertheless, in the tick that was due or is under way. */
function rescueFlowing(connection) {
  if (!connection.isIdle()) rescueReceived(connection);
  connection.ahead = native.nativeReceived(connection.id, true, true);
  if (connection.head !== null) connection.ahead.unshift(connection.head);
}

/** What ws's receiver would have goes to the receiver, which is busy, or will not be told of it any more. */
function rescueReceived(connection) {
  const { receiver, socket } = connection;
  if (receiver._isInput && native.nativeHolds(connection.id)) keepHeld(connection);
  const isDone = connection.isIdle() && !socket.isPaused();
  const chunks = native.nativeReceived(connection.id, isDone, !connection.isFlowing);
  if (receiver._isInput && chunks.length > 0) receiver._rest = chunks.shift();
  if (connection.isDiscarding) return;
  // What the receiver is being told goes past its stream, so these chunks would overtake it.
  if (connection.isTelling) connection.late = chunks;
  else deliverLast(receiver, chunks);
}

/** What ws's socket would have is seen when it closes, unless it flows again before that. */
function rescueUnread(connection) {
  const { head, socket } = connection;
  let late = Buffer.concat([head ?? EMPTY_BUFFER, native.nativeReadAhead(connection.id)]);
  if (socket.isPaused() && late.length < socket.readableHighWaterMark) {
    late = Buffer.concat([late, native.nativeReadOnce(connection.id)]);
  }
  if (late.length === 0) return;
  socket[kLate] = late;
  if (!socket.isPaused()) stall(connection);
}

/** Has an item described for which there was no room, and keeps it behind all that were described before. */
function keepHeld(connection) {
  const { receiver } = connection;
  const { _arena: before, _fetched: fetched } = receiver;
  const base = cells[TOP];
  // Others may have filled the arena since; then the first call only brings another one.
  const count = connection.fill(base, true) || connection.fill(base, true);
  keepLast(receiver, base, base + count * STRIDE);
  receiver._arena = before;
  receiver._fetched = fetched;
}

/** Pauses the socket until its receiver has finished with what it has: in ws it would be paused by now. */
function stall(connection) {
  connection.socket.pause();
  connection.receiver._writableState.needDrain = true;
}

/**
 * What had arrived on a paused socket when it was destroyed. As in Node, it is gone if the socket was resumed since and
 * heeds that.
 *
 * @param {import('stream').Duplex} socket
 * @returns {Buffer|undefined}
 */
function lateInput(socket) {
  const late = socket[kLate];
  const isLost = late === undefined || (heedsWhenDestroyed && !socket.isPaused());
  return isLost ? undefined : late;
}

module.exports = {
  deliverAhead,
  deliverHead,
  deliverLate,
  flowOn,
  keepForTick,
  lateInput,
  putBack,
  readOn,
  rescue,
  rescueReceived
};
