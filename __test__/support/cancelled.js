'use strict';

const { once } = require('node:events');
const net = require('node:net');

/** Whether Node calls a write cancelled, and not done, that it was busy with when its socket was destroyed. */
async function isCancelledByNode(t) {
  const server = net.createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const socket = net.connect(server.address().port, '127.0.0.1');
  const [[peer]] = await Promise.all([accepted, once(socket, 'connect')]);
  t.after(() => peer.destroy());
  return new Promise((resolve) => {
    socket.write(Buffer.alloc(64 * 1024 * 1024), (error) => resolve(error !== null));
    socket.destroy();
  });
}

module.exports = { isCancelledByNode };
