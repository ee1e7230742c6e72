// Package auth decides who somebody is and what they may do.
//
// A Verifier makes an Identity of a signed token (section 8 of the protocol), a
// list of Keys finds that of a backend, and Allowed is the one decision about a
// room for WebSocket, Server-Sent Events and HTTP alike. Revocations end
// identities before they run out.
//
// Nothing of a token is used before its signature has verified, but for the
// algorithm and the key id, which only choose among the keys that are
// configured. A client learns that its token does not verify and no more; the
// reason goes into a counter. No error, log line or metric holds a token, a
// secret or a key.
//
// Only a Verifier that fetches keys has goroutines, one for each set, from Start to
// Close. All else runs on its caller's and never waits.
package auth
