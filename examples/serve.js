'use strict';

// A server to play with: a page at `/`, and a WebSocket server on the same port that passes every
// message on to everybody who is connected.

const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const { WebSocket, WebSocketServer } = require('..');

/** Gives up a connection whose other side did not answer the ping before. */
function watchHeartbeats(wss) {
  const timer = setInterval(() => {
    for (const socket of wss.clients) {
      if (!socket.isAlive) {
        socket.terminate();
        continue;
      }
      socket.isAlive = false;
      socket.ping();
    }
  }, 30_000);

  wss.on('close', () => clearInterval(timer));
}

/**
 * Serves until Ctrl-C.
 *
 * @param {number} port
 */
async function serve(port) {
  const server = http.createServer((request, response) => {
    if (request.url !== '/') return response.writeHead(404).end();
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    fs.createReadStream(path.join(__dirname, 'page.html')).pipe(response);
  });
  const wss = new WebSocketServer({ server, maxPayload: 1024 * 1024, perMessageDeflate: true });
  const tell = (data, options) => {
    for (const socket of wss.clients) {
      if (socket.readyState === WebSocket.OPEN) socket.send(data, options);
    }
  };

  wss.on('connection', (socket) => {
    socket.isAlive = true;
    socket.on('pong', () => (socket.isAlive = true));
    socket.on('message', (data, isBinary) => tell(data, { binary: isBinary }));
    socket.on('error', (error) => console.log(`A connection failed: ${error.message}`));
    socket.on('close', () => tell(`Somebody left. Connected: ${wss.clients.size}`));
    tell(`Somebody came. Connected: ${wss.clients.size}`);
  });
  watchHeartbeats(wss);

  server.listen(port);
  // The WebSocket server hears of a port that is taken, too, and would throw for want of a listener.
  await once(wss, 'listening');
  console.log(`http://localhost:${server.address().port}/ (Ctrl-C ends it)`);

  process.once('SIGINT', () => {
    for (const socket of wss.clients) socket.close(1001, 'The server ends');
    wss.close();
    server.close();
    server.closeAllConnections();
  });
}

module.exports = { serve };

if (require.main === module) serve(Number(process.argv[2] ?? 8080));
