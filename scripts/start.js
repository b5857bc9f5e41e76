'use strict';

const { parseArgs } = require('node:util');

const { build } = require('./build');
const { setup } = require('./setup');
const { announce, runMain, StepError } = require('./steps');

const USAGE = `npm start                           the tour: what the package does, on real sockets
npm start -- --serve [--port 8080]  keep a server up, with a page to talk to it`;

/** @returns {{ serve: boolean, port: string, help: boolean }} */
function readOptions() {
  try {
    return parseArgs({
      options: {
        help: { type: 'boolean', default: false },
        port: { type: 'string', default: '8080' },
        serve: { type: 'boolean', default: false }
      }
    }).values;
  } catch (error) {
    throw new StepError(`${error.message}\n\n${USAGE}`);
  }
}

runMain(async () => {
  const options = readOptions();
  if (options.help) return console.log(USAGE);

  setup();
  build();
  // The examples load the package, which only now has its binary.
  if (options.serve) {
    announce('Serving');
    try {
      await require('../examples/serve').serve(Number(options.port));
    } catch (error) {
      // Such as a port that is taken or is none.
      throw error.code ? new StepError(error.message) : error;
    }
  } else {
    announce('The tour');
    await require('../examples/tour').tour();
  }
});
