// Command dashboards writes the dashboards of deploy/grafana: fleet.go, queues.go and
// relay.go say what is on each, page.go and panel.go make Grafana's JSON of it.
//
// Queries are written short. {} stands for the gateways that are chosen, {redis} for
// the exporters of Redis, [R] for a range that suits the scrape interval. A query
// answers at any time: where nothing happened it says 0, or leaves out what has no
// number, and never divides 0 by 0. internal/deploytest asks all of them of a real
// Prometheus, and draws the answers.
package main
