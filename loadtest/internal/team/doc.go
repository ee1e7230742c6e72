// Package team plays a plan with one process or several: a [Local] is the swarm
// of this process, a [Remote] that of an agent elsewhere, and [Run] leads them
// through the same phases at the same moments (connect, warm up and measure, let
// everyone catch up, close the account) and merges what they found.
//
// A Local has one goroutine, which owns its swarm and ends with Close. Run starts
// one for each player and phase, and waits for them.
package team
