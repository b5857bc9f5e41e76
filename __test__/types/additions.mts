// The exports that arrived since @types/ws, from an ECMAScript module. Only compiled.

import WebSocket, { PerMessageDeflate, Receiver, Sender, extension, subprotocol } from 'ws';

export const receiver: Receiver = new Receiver();
export const frame = Sender.frame('text', { opcode: 1 });
export const deflate: PerMessageDeflate = new PerMessageDeflate();
export const parsed = [extension.parse('a; b=1'), subprotocol.parse('a')];
// The default export carries the other exports, as it does for `require`.
export const server = new WebSocket.Server({ noServer: true, maxPendingAutoPongs: 1 });
