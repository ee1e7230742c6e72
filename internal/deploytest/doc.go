// Package deploytest holds the tests of what operators run: docker-compose.yml and
// what it mounts, the balancers' and Redis' configurations, the image. Each file is
// used as it is; where names and ports of a compose network would stand, a test puts
// those of this machine: type topology says which. The package has no code of its
// own.
//
// A test whose program is missing is skipped with a word that says so, and fails
// where CI is set.
package deploytest
