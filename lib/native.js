'use strict';

const { createRequire } = require('module');
const path = require('path');

const { platformName } = require('./platform');

/**
 * What became of one `require` of a binary.
 *
 * @typedef {object} Outcome
 * @property {object} [binding] what the addon exports
 * @property {Error} [error]
 * @property {boolean} [missing] whether there is no such file or package, as opposed to one that does not load
 */

/**
 * @param {Error} error
 * @returns {Outcome}
 */
const failed = (error) => ({
  error,
  missing: error.code === 'MODULE_NOT_FOUND' || error instanceof ReferenceError
});

// Bundlers follow a `require` only when its argument is a literal, hence one line for each published platform. What
// they do not find, as is the case for all platforms but one, they forgive only within the very `try`. The last line
// is for platforms on which somebody built the binary.

/**
 * @param {string} platform
 * @returns {Outcome}
 */
function requireLocalFile(platform) {
  try {
    switch (platform) {
      case 'darwin-arm64':
        return { binding: require('../oxws.darwin-arm64.node') };
      case 'darwin-x64':
        return { binding: require('../oxws.darwin-x64.node') };
      case 'linux-arm64-gnu':
        return { binding: require('../oxws.linux-arm64-gnu.node') };
      case 'linux-arm64-musl':
        return { binding: require('../oxws.linux-arm64-musl.node') };
      case 'linux-x64-gnu':
        return { binding: require('../oxws.linux-x64-gnu.node') };
      case 'linux-x64-musl':
        return { binding: require('../oxws.linux-x64-musl.node') };
      case 'win32-arm64-msvc':
        return { binding: require('../oxws.win32-arm64-msvc.node') };
      case 'win32-x64-msvc':
        return { binding: require('../oxws.win32-x64-msvc.node') };
      default:
        return { binding: createRequire(__filename)(`../oxws.${platform}.node`) };
    }
  } catch (error) {
    return failed(error);
  }
}

/**
 * @param {string} platform
 * @returns {Outcome}
 */
function requirePlatformPackage(platform) {
  try {
    switch (platform) {
      case 'darwin-arm64':
        return { binding: require('oxws-darwin-arm64') };
      case 'darwin-x64':
        return { binding: require('oxws-darwin-x64') };
      case 'linux-arm64-gnu':
        return { binding: require('oxws-linux-arm64-gnu') };
      case 'linux-arm64-musl':
        return { binding: require('oxws-linux-arm64-musl') };
      case 'linux-x64-gnu':
        return { binding: require('oxws-linux-x64-gnu') };
      case 'linux-x64-musl':
        return { binding: require('oxws-linux-x64-musl') };
      case 'win32-arm64-msvc':
        return { binding: require('oxws-win32-arm64-msvc') };
      case 'win32-x64-msvc':
        return { binding: require('oxws-win32-x64-msvc') };
      default:
        return { binding: createRequire(__filename)(`oxws-${platform}`) };
    }
  } catch (error) {
    return failed(error);
  }
}

/**
 * In a bundle of ES modules there is no `require`: finds the package from where the program lies.
 *
 * @param {string} platform
 * @returns {Outcome}
 */
function requireFromProgram(platform) {
  try {
    return {
      binding: createRequire(path.resolve(process.argv[1] ?? 'index.js'))(`oxws-${platform}`)
    };
  } catch (error) {
    return failed(error);
  }
}

/**
 * @param {Outcome} outcome
 * @param {string} platform
 */
function throwIfForbidden({ error }, platform) {
  if (error.code !== 'ERR_DLOPEN_DISABLED') return;
  throw new Error(
    `oxws cannot load its native binary for ${platform}: this process may not load addons, so start it ` +
      'without --no-addons and, if it has --permission, with --allow-addons',
    { cause: error }
  );
}

/**
 * Loads the addon: the file that `npm run build` leaves beside package.json, else the package that was
 * installed for this platform.
 *
 * @returns {object} what the addon exports
 */
function load() {
  const platform = platformName();
  const name = `oxws.${platform}.node`;
  // In a bundle of ES modules there is no such variable.
  const file = typeof __dirname === 'string' ? path.join(__dirname, '..', name) : name;
  const packageName = `oxws-${platform}`;

  const local = requireLocalFile(platform);
  if (local.binding) return local.binding;
  throwIfForbidden(local, platform);
  if (!local.missing) {
    throw new Error(
      `oxws cannot load its native binary for ${platform}: the file ${file} is there but does not ` +
        'load, so delete it and run `npm run build` again',
      { cause: local.error }
    );
  }

  let installed = requirePlatformPackage(platform);
  if (installed.error instanceof ReferenceError) installed = requireFromProgram(platform);
  if (installed.binding) return installed.binding;
  throwIfForbidden(installed, platform);
  if (!installed.missing) {
    throw new Error(
      `oxws cannot load its native binary for ${platform}: the package ${packageName} is installed ` +
        'but does not load, so delete node_modules and install again on this machine',
      { cause: installed.error }
    );
  }

  throw new Error(
    `oxws cannot load its native binary for ${platform}: there is neither the package ` +
      `${packageName} nor the file ${file}, so install again with optional dependencies included ` +
      '(npm install --include=optional), or run `npm run build` in a checkout of oxws',
    { cause: installed.error }
  );
}

module.exports = load();
