// Package frame turns bytes into WebSocket events and back: the HTTP request
// head and its answer, the incremental frame reader, compiled outbound frames,
// permessage-deflate and close codes. It stands on github.com/gobwas/ws for
// what that library does well (opcodes, masking) and does itself what an event
// loop needs and that library leaves to callers:
//
//   - ws.Upgrader pulls from a reader without a limit, loses what lies behind
//     the head, takes two Hosts, NULs and keys that are not base64, refuses a
//     Connection list on two lines, answers an extension offer that it cannot
//     parse with 500 and garbage with nothing. [ParseHead] and [ReadHandshake]
//     judge the whole head; what [Handshake.Accept] answers is what the Upgrader
//     would, byte for byte.
//   - wsutil's readers block until a message is whole. [Reader] takes whatever
//     bytes there are.
//   - ws.CheckHeader knows no length limit, no minimal length forms and, with an
//     extension, lets RSV2 and RSV3 through. ws.CheckCloseFrameData refuses 1012
//     to 1014 and takes 5000 and above. [Reader] and [LegalCloseCode] follow
//     RFC 6455 and the IANA registry instead.
//
// The package has no goroutine, no I/O, no clock and no configuration of its
// own: each call runs on its caller's goroutine, and a value belongs to one
// goroutine at a time. Package variables are never written after init, but for
// one sync.Pool of inflaters.
//
// # Bounds
//
// Work is linear in the bytes received, however they are split. Nothing is ever
// allocated by a length that a peer merely declares: an unfinished message's
// buffer follows the bytes that have arrived. A whole, unfragmented,
// uncompressed frame costs no allocation and no copy. Between messages a Reader
// holds no memory beyond itself.
package frame
