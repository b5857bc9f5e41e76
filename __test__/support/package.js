'use strict';

/**
 * The package under test: this one, or the one that OXWS_TEST_PACKAGE names (a path, or `ws` itself,
 * to see that a test describes what ws does).
 */
module.exports = require(process.env.OXWS_TEST_PACKAGE || '../../index.js');
