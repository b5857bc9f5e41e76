'use strict';

const { kForOnEventAttribute, kListener } = require('./constants');

const kCode = Symbol('kCode');
const kData = Symbol('kData');
const kError = Symbol('kError');
const kMessage = Symbol('kMessage');
const kReason = Symbol('kReason');
const kTarget = Symbol('kTarget');
const kType = Symbol('kType');
const kWasClean = Symbol('kWasClean');

/** What every event has: its type, and the `WebSocket` it happened to. */
class Event {
  /**
   * @param {string} type
   */
  constructor(type) {
    this[kTarget] = null;
    this[kType] = type;
  }
}

/** The connection is closed. */
class CloseEvent extends Event {
  /**
   * @param {string} type
   * @param {Object} [init]
   * @param {number} [init.code] The close code
   * @param {string} [init.reason] The reason, in the words of whoever closed
   * @param {boolean} [init.wasClean] Whether both sides sent a close frame
   */
  constructor(type, { code = 0, reason = '', wasClean = false } = {}) {
    super(type);
    this[kCode] = code;
    this[kReason] = reason;
    this[kWasClean] = wasClean;
  }
}

/** Something failed. */
class ErrorEvent extends Event {
  /**
   * @param {string} type
   * @param {Object} [init]
   * @param {*} [init.error] What failed
   * @param {string} [init.message]
   */
  constructor(type, { error = null, message = '' } = {}) {
    super(type);
    this[kError] = error;
    this[kMessage] = message;
  }
}

/** A message arrived. */
class MessageEvent extends Event {
  /**
   * @param {string} type
   * @param {Object} [init]
   * @param {*} [init.data] The message: a string if it is text, else what `binaryType` asks for
   */
  constructor(type, { data = null } = {}) {
    super(type);
    this[kData] = data;
  }
}

/**
 * Gives the instances of a class read-only attributes, enumerable as those of a DOM event are.
 *
 * @param {Function} EventClass
 * @param {Object<string, symbol>} attributes Where each attribute keeps its value
 */
function defineAttributes(EventClass, attributes) {
  for (const [name, key] of Object.entries(attributes)) {
    Object.defineProperty(EventClass.prototype, name, {
      configurable: true,
      enumerable: true,
      get() {
        return this[key];
      }
    });
  }
}

defineAttributes(Event, { target: kTarget, type: kType });
defineAttributes(CloseEvent, { code: kCode, reason: kReason, wasClean: kWasClean });
defineAttributes(ErrorEvent, { error: kError, message: kMessage });
defineAttributes(MessageEvent, { data: kData });

/**
 * Passes an event to a handler.
 *
 * @param {import('./websocket')} websocket The target of the event
 * @param {Function|{handleEvent: Function}} handler
 * @param {Event} event
 */
function deliver(websocket, handler, event) {
  event[kTarget] = websocket;

  if (typeof handler === 'object' && handler.handleEvent) handler.handleEvent(event);
  else handler.call(websocket, event);
}

/**
 * For each type a handler can be registered for, makes the `EventEmitter` listener that turns the
 * arguments of that event into an event object. Handlers of other types are never called, as in a
 * browser.
 */
const LISTENER_FACTORIES = new Map([
  [
    'open',
    (handler) =>
      function onOpen() {
        deliver(this, handler, new Event('open'));
      }
  ],
  [
    'message',
    (handler) =>
      function onMessage(message, isBinary) {
        const data = isBinary ? message : message.toString();
        deliver(this, handler, new MessageEvent('message', { data }));
      }
  ],
  [
    'error',
    (handler) =>
      function onError(error) {
        deliver(this, handler, new ErrorEvent('error', { error, message: error.message }));
      }
  ],
  [
    'close',
    (handler) =>
      function onClose(code, reason) {
        const wasClean = this._closeFrameReceived && this._closeFrameSent;
        const init = { code, reason: reason.toString(), wasClean };
        deliver(this, handler, new CloseEvent('close', init));
      }
  ]
]);

/**
 * Finds the listener that `addEventListener()` made for a handler.
 *
 * @param {import('./websocket')} websocket
 * @param {string} type
 * @param {Function|Object} handler
 * @returns {Function|undefined}
 */
function findListener(websocket, type, handler) {
  return websocket
    .listeners(type)
    .find((listener) => listener[kListener] === handler && !listener[kForOnEventAttribute]);
}

/**
 * Finds the listener that the `on<type>` attribute registered.
 *
 * @param {import('./websocket')} websocket
 * @param {string} type
 * @returns {Function|undefined}
 */
function findAttributeListener(websocket, type) {
  return websocket.listeners(type).find((listener) => listener[kForOnEventAttribute]);
}

/**
 * Registers a handler. Registering the same one twice has no effect.
 *
 * @this {import('./websocket')}
 * @param {string} type
 * @param {Function|{handleEvent: Function}} handler
 * @param {Object} [options]
 * @param {boolean} [options.once] Call the handler at most once
 */
function addEventListener(type, handler, options = {}) {
  const createListener = LISTENER_FACTORIES.get(type);
  if (createListener === undefined) return;

  const isForAttribute = Boolean(options[kForOnEventAttribute]);
  if (!isForAttribute && findListener(this, type, handler)) return;

  const listener = createListener(handler);
  listener[kForOnEventAttribute] = isForAttribute;
  listener[kListener] = handler;

  if (options.once) this.once(type, listener);
  else this.on(type, listener);
}

/**
 * Removes a handler registered with `addEventListener()`.
 *
 * @this {import('./websocket')}
 * @param {string} type
 * @param {Function|{handleEvent: Function}} handler
 */
function removeEventListener(type, handler) {
  const listener = findListener(this, type, handler);
  if (listener) this.removeListener(type, listener);
}

/** The methods, for whoever mixes them into a class of their own. */
const EventTarget = { addEventListener, removeEventListener };

/**
 * Defines the `on<type>` attribute of one type of event.
 *
 * @param {Object} prototype
 * @param {string} type
 */
function defineHandlerAttribute(prototype, type) {
  Object.defineProperty(prototype, `on${type}`, {
    configurable: true,
    enumerable: true,
    get() {
      const listener = findAttributeListener(this, type);
      return listener ? listener[kListener] : null;
    },
    set(handler) {
      const previous = findAttributeListener(this, type);
      if (previous) this.removeListener(type, previous);

      if (typeof handler === 'function') {
        this.addEventListener(type, handler, { [kForOnEventAttribute]: true });
      }
    }
  });
}

/**
 * Gives an `EventEmitter` class the part of the DOM's `EventTarget` interface that browsers' code
 * uses: `addEventListener()`, `removeEventListener()`, `onopen`, `onmessage`, `onerror` and
 * `onclose`.
 *
 * @param {Object} prototype
 */
function mixInEventTarget(prototype) {
  for (const type of LISTENER_FACTORIES.keys()) defineHandlerAttribute(prototype, type);

  // Plain assignment: the two methods are enumerable, as in the DOM.
  Object.assign(prototype, EventTarget);
}

module.exports = { CloseEvent, ErrorEvent, Event, EventTarget, MessageEvent, mixInEventTarget };
