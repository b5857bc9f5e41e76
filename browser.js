'use strict';

// Bundlers for the browser pick this file; the browser has a WebSocket of its own.
module.exports = function () {
  throw new Error(
    'ws does not work in the browser. Browser clients must use the native WebSocket object'
  );
};
