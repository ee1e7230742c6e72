// Package faulttest breaks what a fleet of gateways stands on and judges what its
// clients saw. It starts real processes - gateways, Redis in each of its modes,
// HAProxy -, drives a thousand clients in a hundred rooms with numbered messages,
// injects a fault whose choices follow from a seed, and then judges from the
// clients' and publishers' own logs only. No server's word counts.
//
// What is judged (the words are those of PROTOCOL.md section 5):
//
//   - no silent loss: each acknowledged publish was delivered to each member of
//     that time, or lies in a gap or behind a reset that the member was told of
//   - order: what a connection receives rises by exactly 1 within an epoch, and
//     one seq of one epoch is one message, for all members on all gateways
//   - no duplicate, also across a resume and a publisher's retry
//   - honest acks: what an acknowledgement names is what members received there
//   - honest readiness: /readyz is false within 15 s of delivery not being proven,
//     and true again within 15 s of its being proven
//   - no right but those of deploy/redis: gateways are its user fanfare, in each mode
//   - online lists: 15 s after a fault, and after a gateway's death, every gateway
//     says of every room who is there, neither more nor fewer, and so do those know
//     it who are told who comes and goes
//   - user names: no two have one at once, but where a fault lost it for its holder,
//     who is told so within 10 s of the fault's end; who comes back with its key has
//     it; those of a dead gateway are free within 15 s
//   - revocations: who came by what was revoked is closed with 4001 within 5 s and
//     refused with 401 by every gateway, by those that were down then from their start
//   - bounded memory, descriptors and goroutines
//   - caught up within 10 s of the fault's end
//
// A world is the processes of one run; it owns all that was started and ends it,
// by process id. A fleet is the clients, one goroutine each, which writes the
// client's journal; a journal is read by the judge when its goroutine has ended.
// Beside them are people: claimants of names with rivals at every gateway, and
// bearers of tokens that are revoked before, in and after the fault.
// The package's code is of use to its tests only, and nothing that ships imports
// it.
package faulttest
