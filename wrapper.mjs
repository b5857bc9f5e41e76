// The same objects as index.js gives, named one by one so that `import` sees these and nothing else.
import WebSocket from './index.js';

export const {
  WebSocketServer,
  createWebSocketStream,
  Receiver,
  Sender,
  PerMessageDeflate,
  extension,
  subprotocol
} = WebSocket;

export { WebSocket, WebSocket as default };
