'use strict';

const { Writable } = require('stream');

const {
  cells,
  BINARY,
  BINARY_FETCHED,
  BINARY_IN_CHUNK,
  INPUT,
  KIND_MASK,
  STOPPED,
  STRIDE,
  TEXT_FETCHED,
  TEXT_IN_CHUNK,
  TOP,
  USED_UP
} = require('./inbox');
const { FastBuffer } = require('./buffers');
const { kWebSocket } = require('./constants');
const { beginDelivery, endDelivery } = require('./outbox');
const { keep, keepRest } = require('./pending-items');

/*
 * The short way of a native connection's input to the listeners: a receiver that waits for nothing need not have it
 * written to it as to a stream. Whatever is out of the ordinary is left to the receiver itself. What listeners write to the
 * receiver meanwhile comes behind that input, as if it stood in the stream.
 */

const { emit, write } = Writable.prototype;

/** Whether input need not wait for anything, so that it may go past the machinery of a stream. */
function isIdle(receiver) {
  const state = receiver._writableState;
  return (
    state.length === 0 &&
    !state.ending &&
    !state.destroyed &&
    state.corked === 0 &&
    !receiver._errored &&
    receiver.write === write
  );
}

/**
 * Delivers input of a native connection that is described in the inbox already.
 *
 * @param {import('./receiver')} receiver
 * @param {number} count how many items there are; -1: none is described yet
 */
function takeInput(receiver, count) {
  if (count < 0) {
    receiver.write(INPUT);
    return;
  }
  const base = cells[TOP];
  if (!isIdle(receiver)) {
    keep(receiver, base, base + count * STRIDE, cells[STOPPED]);
    receiver.write(INPUT);
    return;
  }

  receiver._isInput = true;
  receiver._limitsChanged = false;
  beginDelivery();
  try {
    for (;;) {
      const stopped = cells[STOPPED];
      const isDone = deliverMessages(receiver, base, base + count * STRIDE, stopped);
      // Whatever takes time, or ends the connection, is the stream's business.
      const isOver = stopped === USED_UP && !receiver._hasRest();
      if (!isDone || (!isOver && receiver._connection === null)) {
        leaveToStream(receiver);
        return;
      }
      if (isOver) break;
      count = describeMore(receiver, base);
    }
    receiver._isInput = false;
    if (receiver.destroyed) receiver._release();
    else if (receiver._done !== null) receiver._goOnAsStream();
  } finally {
    endDelivery();
  }
}

/** A receiver that a listener has destroyed takes no more. If one has written to it, the stream is under way already. */
function leaveToStream(receiver) {
  if (receiver.destroyed) {
    receiver._isInput = false;
    receiver._release();
  } else if (receiver._done !== null) {
    receiver._goOnAsStream();
  } else {
    receiver.write(INPUT);
  }
}

/** There may be no memory for a message. */
function describeMore(receiver, base) {
  try {
    return receiver._connection.fill(base, false);
  } catch (error) {
    receiver._isInput = false;
    receiver._lose();
    throw error;
  }
}

/**
 * Delivers messages that lie whole in memory, which by far the most do.
 *
 * @returns {boolean} whether these were all items; the others are kept
 */
function deliverMessages(receiver, base, end, stopped) {
  const { buffer: memory, byteOffset: offset } = receiver._arena;
  let at = base;
  cells[TOP] = end;
  try {
    while (at < end) {
      const head = cells[at];
      const isBinary = (head & KIND_MASK) === BINARY;
      const length = cells[at + 2] >>> 0;
      let data;
      if (
        (isBinary && receiver._binaryType !== 'nodebuffer') ||
        length === 0 ||
        receiver._limitsChanged ||
        !receiver._allowSynchronousEvents
      ) {
        keep(receiver, at, end, stopped);
        return false;
      } else if (head === TEXT_IN_CHUNK || head === BINARY_IN_CHUNK) {
        data = new FastBuffer(memory, offset + (cells[at + 1] >>> 0), length);
      } else if (head === TEXT_FETCHED || head === BINARY_FETCHED) {
        data = receiver._fetched[cells[at + 1]];
      } else {
        keep(receiver, at, end, stopped);
        return false;
      }
      at += STRIDE;
      receiver._isInflating = false;
      // Past the listener that would only pass it on.
      if (receiver._events.message === receiver._onMessage && receiver.emit === emit) {
        receiver[kWebSocket].emit('message', data, isBinary);
      } else {
        receiver.emit('message', data, isBinary);
      }
    }
    return true;
  } catch (error) {
    // What is left is delivered a little later, when the exception was handled.
    keepRest(receiver, memory, at, end, stopped, true);
    receiver._hasThrown = true;
    leaveToStream(receiver);
    throw error;
  } finally {
    cells[TOP] = base;
  }
}

module.exports = { takeInput };
