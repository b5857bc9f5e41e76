'use strict';

const { once } = require('node:events');

const { openServer, startClient } = require('./pair.js');
const { connectRaw, serveRaw } = require('./raw-peer.js');

const DEFLATE = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };

/**
 * A WebSocket of the package whose peer is a socket that a test writes to by hand.
 *
 * @param {import('node:test').TestContext} t
 * @param {'server'|'client'} role The role of the WebSocket
 * @param {object} [options] Its options; with perMessageDeflate the extension is negotiated
 * @returns {Promise<{ws: WebSocket, peer: {socket: net.Socket, frames: FrameReader}, mask: boolean}>}
 *     `mask` tells whether frames of the peer must be masked
 */
async function openVictim(t, role, options = {}) {
  const headers = options.perMessageDeflate ? DEFLATE : {};
  if (role === 'server') {
    const wss = await openServer(t, options);
    const connected = once(wss, 'connection');
    const peer = await connectRaw(t, wss, { headers });
    const [ws] = await connected;
    return { ws, peer, mask: true };
  }

  const raw = await serveRaw(t, { headers });
  const ws = startClient(t, raw.url, { perMessageDeflate: false, ...options });
  const [peer] = await Promise.all([raw.peer(), once(ws, 'open')]);
  return { ws, peer, mask: false };
}

module.exports = { openVictim };
