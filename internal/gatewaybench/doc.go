// Package gatewaybench measures a gateway's whole process, on a processor of its
// own, where a load test is not the tool: what TLS costs an idle connection, and
// that a reader who has stopped is nobody else's problem. What a gateway costs
// beside the limit of the machine, loadtest floor tells. It has no code but its
// benchmarks: go test -run '^$' -bench . ./internal/gatewaybench
package gatewaybench
