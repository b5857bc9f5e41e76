'use strict';

const { STATUS_CODES } = require('http');

/**
 * Answers a request that cannot be upgraded, and closes the connection.
 *
 * @param {import('stream').Duplex} socket
 * @param {number} status
 * @param {string} [body] The name of the status if not given
 * @param {Object<string, string|number>} [headers] Added to, or in place of, those every answer has
 */
function refuseUpgrade(socket, status, body, headers) {
  const content = body || STATUS_CODES[status];
  const fields = {
    Connection: 'close',
    'Content-Type': 'text/html',
    'Content-Length': Buffer.byteLength(content),
    ...headers
  };
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`];

  for (const [name, value] of Object.entries(fields)) lines.push(`${name}: ${value}`);

  // Whoever was refused may never close their side.
  socket.once('finish', socket.destroy);
  socket.end(`${lines.join('\r\n')}\r\n\r\n${content}`);
}

/**
 * Answers a request that does not ask for an upgrade: the request listener of a server's own HTTP
 * server.
 *
 * @param {import('http').IncomingMessage} req
 * @param {import('http').ServerResponse} res
 */
function requireUpgrade(req, res) {
  const content = STATUS_CODES[426];

  res.writeHead(426, { 'Content-Length': content.length, 'Content-Type': 'text/plain' });
  res.end(content);
}

module.exports = { refuseUpgrade, requireUpgrade };
