// Package charttest holds the checks of charts/fanfare: it renders the chart as
// Helm does, with its examples and with each pair of its switches, and holds what
// comes out against the types of the Kubernetes API, the restricted profile, and
// the real fanfare. It is a module of its own, so that none of what it needs is a
// dependency of Fanfare's.
package charttest
