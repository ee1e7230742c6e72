// Package api is Fanfare's HTTP beside the WebSockets: what backends and operators
// ask on the admin port (section 9 of the protocol), and the pages on the public
// one. openapi.yaml describes all of the admin port.
//
// A call is one exchange: its path names a resource, its key is judged before a
// byte of its body is read, and every error is a problem (RFC 9457) with a code of
// the protocol. Bodies are judged by the functions that judge a WebSocket's
// messages, and data reaches the broker and comes back byte for byte.
//
// A room as Server-Sent Events is served by a client of the own gateway: the
// handler attaches a connection and speaks the WebSocket protocol on it, so that
// nothing is decided here of who may join and how a slow reader fares.
//
// Handlers run on net/http's goroutines, wait for the gateway's answers there, and
// keep nothing between calls. What a caller may take of memory and time is bounded:
// connections, calls at once, a body's bytes, and the time for each step.
package api
