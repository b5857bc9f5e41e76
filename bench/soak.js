'use strict';

/**
 * Soak test of compression: many short-lived connections exchange compressed messages, and the server's memory must
 * not grow with their number.
 *
 *     node bench/soak.js [--messages 2000000] [--connections 200] [--stay 400] [--no-takeover] [--heap] [--package ws]
 *
 * Two processes of this package: a server that echoes, and clients that come, exchange up to `--stay` messages of
 * different sizes, and leave in different ways; 200 at a time, about ten thousand in all. Each reply is compared with what
 * was sent. The server's resident memory is measured when a tenth of the messages has been exchanged, and at the end; the
 * exit status says whether it has grown by more than a tenth in between. `--heap` also prints how much of the memory is
 * V8's. `--package` serves with another package.
 */
const { fork } = require('node:child_process');
const { once } = require('node:events');
const { parseArgs } = require('node:util');
const { getHeapSpaceStatistics } = require('node:v8');

const { WebSocket } = require('..');

const MOST_GROWTH = 0.1;
const IN_FLIGHT = 8;
const WORDS = 'order invoice pending shipped customer berlin account monthly update total'.split(
  ' '
);

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '2000000' },
    connections: { type: 'string', default: '200' },
    stay: { type: 'string', default: '400' },
    seed: { type: 'string', default: String(Date.now() % 1e6) },
    'no-takeover': { type: 'boolean', default: false },
    heap: { type: 'boolean', default: false },
    package: { type: 'string', default: '..' },
    server: { type: 'boolean', default: false }
  }
});
const total = Number(values.messages);
const perMessageDeflate = {
  threshold: 0,
  serverNoContextTakeover: values['no-takeover'],
  clientNoContextTakeover: values['no-takeover']
};

/** The server's memory: all that is resident, and what V8 has of it. */
function memory() {
  const sizes = { young: 0, rest: 0 };
  for (const { space_name: name, physical_space_size: size } of getHeapSpaceStatistics()) {
    sizes[name.startsWith('new_') ? 'young' : 'rest'] += size;
  }
  return { resident: process.memoryUsage.rss(), ...sizes };
}

function serve() {
  const { WebSocketServer } = require(values.package);
  const wss = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate });
  wss.on('connection', (ws) => {
    ws.on('error', () => {});
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  });
  wss.on('listening', () => process.send({ port: wss.address().port }));
  process.on('message', () => process.send(memory()));
  process.on('disconnect', () => process.exit());
}

let state = Number(values.seed) | 1;
function random(limit) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % limit;
}

/** Mostly some hundred bytes, now and then some ten thousand. */
function message() {
  const words = random(200) === 0 ? 1 + random(6000) : 1 + random(60);
  let text = `{"id":${random(1e6)}`;
  for (let i = 0; i < words; i++) text += `,"${WORDS[random(10)]}":${random(1000)}`;
  return `${text}}`;
}

let exchanged = 0;

/** One connection, from its opening to its end. */
async function visit(port) {
  const ws = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate });
  const closed = once(ws, 'close');
  await once(ws, 'open');
  let left = 1 + random(Number(values.stay));
  const sent = [];
  const send = () => {
    const text = message();
    sent.push(text);
    ws.send(text);
  };
  ws.on('message', (data) => {
    if (data.toString() !== sent.shift()) throw new Error('a reply is not what was sent');
    exchanged++;
    if (--left > 0 && exchanged < total) send();
    else if (random(3) === 0) ws.terminate();
    else ws.close();
  });
  ws.on('error', (error) => {
    throw error;
  });
  for (let i = 0; i < IN_FLIGHT; i++) send();
  await closed;
}

async function memoryOf(server) {
  server.send('memory');
  const [sizes] = await once(server, 'message');
  return sizes;
}

const inMb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** Without V8's heap, what is left are the program itself, its stacks, and what Node, Rust and buffers have allocated. */
function tell({ resident, young, rest }) {
  if (!values.heap) return inMb(resident);
  const other = inMb(resident - young - rest);
  const heap = `young generation ${inMb(young)}, rest of the heap ${inMb(rest)}`;
  return `${inMb(resident)} (${heap}, all else ${other})`;
}

async function main() {
  const args = process.argv.slice(2);
  const server = fork(__filename, [...args, '--server']);
  const [{ port }] = await once(server, 'message');
  console.log(`seed ${values.seed}`);

  let visits = 0;
  const visitors = Array.from({ length: Number(values.connections) }, async () => {
    while (exchanged < total) {
      await visit(port);
      visits++;
    }
  });

  const started = Date.now();
  const tenths = [];
  while (exchanged < total) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (exchanged < (total * (tenths.length + 1)) / 10) continue;
    const sizes = await memoryOf(server);
    tenths.push(sizes.resident);
    const seconds = Math.round((Date.now() - started) / 1000);
    console.log(`${exchanged} messages, ${visits} connections, ${seconds} s: ${tell(sizes)}`);
  }
  await Promise.all(visitors);
  const [first] = tenths;
  const growth = tenths.at(-1) / first - 1;
  server.disconnect();
  console.log(`grown by ${(growth * 100).toFixed(1)} % since the first tenth`);
  process.exitCode = growth > MOST_GROWTH ? 1 : 0;
}

if (values.server) serve();
else main();
