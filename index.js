'use strict';

const WebSocket = require('./lib/websocket');
const WebSocketServer = require('./lib/websocket-server');

// `require` gives the class itself; everything else hangs off it, as users of ws expect.
module.exports = Object.assign(WebSocket, {
  WebSocket,
  WebSocketServer,
  Server: WebSocketServer,
  createWebSocketStream: require('./lib/stream'),
  Receiver: require('./lib/receiver'),
  Sender: require('./lib/sender'),
  PerMessageDeflate: require('./lib/permessage-deflate'),
  extension: require('./lib/extension'),
  subprotocol: require('./lib/subprotocol')
});
