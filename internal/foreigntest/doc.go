// Package foreigntest holds the tests that drive the real program, a fanfare process on loopback, with clients that are
// not ours: Debian's python3-websockets, npm's ws and a headless Chromium, and with fanfare.js in Node and in the page.
// Each test owns the processes that it starts and ends them by their id; nothing here is imported by the gateway.
//
// A test whose foreign program is missing is skipped with a word that says so, and fails where CI is set. npm's ws is
// expected in node_modules beside this file: npm install --no-save --no-package-lock ws@8.23.0
//
// FOREIGNTEST_BINARY names a program to drive instead of one built from cmd/fanfare, such as one with the race detector.
package foreigntest
