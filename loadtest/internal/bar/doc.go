// Package bar is what a gateway is held to: lines, each a number that was measured
// and what it may be at most, or must be at least. It makes them of a comparison
// with the floor and of results, and writes them as a table, as JSON and as a
// picture. It measures nothing itself.
package bar
