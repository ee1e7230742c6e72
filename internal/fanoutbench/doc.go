// Package fanoutbench measures a gateway against the floor: the plainest
// possible loop, which writes the same bytes to the same number of sockets and
// knows no protocol. Both run in one go, each as a process of its own on one
// processor, with the receiving sockets on another one. It has no code but its
// benchmark: go test -run '^$' -bench Fanout ./internal/fanoutbench
package fanoutbench
