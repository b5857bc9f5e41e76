// What this package declares beyond @types/ws: options and exports that arrived since. Only compiled.

import stream = require('node:stream');
import WebSocket = require('ws');
import {
  PerMessageDeflate,
  Receiver,
  Sender,
  extension,
  subprotocol,
  type WebSocketServer as GenericServer
} from 'ws';

const clientOptions: WebSocket.ClientOptions = {
  closeTimeout: 1000,
  maxBufferedChunks: 1,
  maxFragments: 1,
  maxPendingAutoPongs: 1,
  protocols: ['a', 'b']
};
const serverOptions: WebSocket.ServerOptions = { closeTimeout: 1000, maxPendingAutoPongs: 1 };

const socket = new WebSocket('ws://localhost', { closeTimeout: 1000, protocols: 'a' });
socket.close(1000, new Uint8Array(2));

socket.ping('data', (error) => error.message);
socket.pong('data', (error) => error.message);
socket.pong((error: Error) => error.message);

const injected = new WebSocket(null, undefined, { maxPayload: 0 });

class Peer extends WebSocket {}
const server: GenericServer<typeof Peer> = new WebSocket.Server({ WebSocket: Peer });

const deflate = new PerMessageDeflate({ isServer: true, maxPayload: 1024, threshold: 0 });
deflate.accept(
  extension.parse('permessage-deflate; client_max_window_bits')['permessage-deflate']!
);
const agreed: string | number | true | undefined = deflate.params?.['client_max_window_bits'];
deflate.compress(Buffer.from('text'), true, (error, data) => error ?? data.length);
deflate.decompress(Buffer.alloc(1), true, (error, data) => error ?? data.length);
deflate.cleanup();

const header: string = extension.format({ [PerMessageDeflate.extensionName]: deflate.offer() });
const protocols: Set<string> = subprotocol.parse('a, b');

const receiver = new Receiver({
  binaryType: 'blob',
  extensions: { [PerMessageDeflate.extensionName]: deflate },
  isServer: true,
  maxPayload: 0
});
receiver.on('message', (data: Buffer, isBinary: boolean) => isBinary && data.length);
receiver.write(Buffer.alloc(2));

const duplex = new stream.PassThrough();
const sender = new Sender(duplex, {}, (mask) => mask.fill(0));
sender.ping('', true);
sender.send('text', { binary: false, compress: false, fin: true, mask: true }, (error) => error);
sender.sendFrame(Sender.frame(Buffer.from('text'), { opcode: 1, fin: true, readOnly: true }));
sender.close(1000, undefined, false, () => {});

// @ts-expect-error a frame needs an opcode
Sender.frame(Buffer.alloc(0), { fin: true });

export = { agreed, clientOptions, header, injected, protocols, server, serverOptions };
