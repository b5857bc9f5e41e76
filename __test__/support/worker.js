'use strict';

const { once } = require('node:events');
const path = require('node:path');
const { Worker } = require('node:worker_threads');

const packageModule = path.join(__dirname, 'package.js');

/**
 * Runs a function in a worker thread, with the package under test, which it loads there, and `data`
 * as its arguments. The function travels as text, so it can refer to nothing around it. This file
 * itself does not load the package.
 *
 * @param {(WebSocket: any, data: any) => any} body
 * @param {any} [data]
 * @returns {Worker}
 */
function startWorker(body, data) {
  const script = `
    const { workerData } = require('node:worker_threads');
    (${body})(require(workerData.packageModule), workerData.data);
  `;
  return new Worker(script, { eval: true, workerData: { data, packageModule } });
}

/**
 * The first message that a worker posts.
 *
 * @param {Worker} worker
 * @returns {Promise<any>}
 */
async function messageOf(worker) {
  const [message] = await once(worker, 'message');
  return message;
}

module.exports = { messageOf, startWorker };
