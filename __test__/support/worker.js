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
 * The same for a function that waits for `data.gate`, an array, with `Atomics.wait(data.gate, 0, 0)`. `letGo()` opens that,
 * and blocks this thread for so many milliseconds, in which the worker and I/O threads go on.
 *
 * @param {(WebSocket: any, data: any) => any} body
 * @param {object} data
 * @returns {{ worker: Worker, letGo: (milliseconds: number) => void }}
 */
function startWaitingWorker(body, data) {
  const gate = new Int32Array(new SharedArrayBuffer(4));
  const letGo = (milliseconds) => {
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    Atomics.wait(gate, 0, 1, milliseconds);
  };
  return { worker: startWorker(body, { ...data, gate }), letGo };
}

/**
 * A client in a worker that takes nothing until it is let go, and then sends 'answer'.
 *
 * @param {import('node:test').TestContext} t
 * @param {string} url
 * @returns {{ isPaused: Promise<any>, letGo: (milliseconds: number) => void }}
 */
function startPausedClient(t, url) {
  const { worker, letGo } = startWaitingWorker(
    (WebSocket, data) => {
      const { parentPort } = require('node:worker_threads');
      const client = new WebSocket(data.url);
      client.on('open', () => {
        client.pause();
        parentPort.postMessage('paused');
        Atomics.wait(data.gate, 0, 0);
        client.resume();
        client.send('answer');
      });
    },
    { url }
  );
  t.after(() => worker.terminate());
  return { isPaused: messageOf(worker), letGo };
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

module.exports = { messageOf, startPausedClient, startWaitingWorker, startWorker };
