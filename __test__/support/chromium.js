'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { chromium } = require('playwright-core');

/** What a Chromium is called that a system installed. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** Where they are that no PATH leads to. */
const ELSEWHERE = [
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe'
];

// Without the services with which a browser would go out to the network.
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync'
];

/**
 * The Chromium that CHROMIUM_PATH names, or one that is installed.
 *
 * @returns {string | undefined} its path
 */
function findChromium() {
  if (process.env.CHROMIUM_PATH) return process.env.CHROMIUM_PATH;

  const folders = (process.env.PATH ?? '').split(path.delimiter);
  const inPath = folders.flatMap((folder) => NAMES.map((name) => path.join(folder, name)));
  return [...inPath, ...ELSEWHERE].find((file) => fs.existsSync(file));
}

/**
 * @param {string} executablePath
 * @returns {Promise<import('playwright-core').Browser>}
 */
function launchChromium(executablePath) {
  return chromium.launch({ executablePath, args: FLAGS });
}

module.exports = { findChromium, launchChromium };
