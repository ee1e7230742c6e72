package config

import (
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Source string // --flag, VARIABLE, file:line or "default"; empty: not known
	Key    string
	What   string // goes on behind the key: what is wrong, and what would be right
}

// Error is one line.
func (p *Problem) Error() string {
	line := p.Key + " " + p.What
	if p.Key == "" {
		line = p.What
	}
	if p.Source != "" {
		line = p.Source + ": " + line
	}
	return line
}

// Error is all that is wrong with a configuration, at least one Problem.
type Error []*Problem

// Error has one line for each problem.
func (e Error) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// oneLine makes a file's name fit for a message or a comment.
func oneLine(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// Nearest returns the name that was probably meant, or "". A dotted name is
// also found by its last part alone.
func Nearest(name string, names []string) string {
	best, least := "", max(2, len(name)/4)+1
	for _, n := range names {
		if strings.HasSuffix(n, "."+name) {
			return n
		}
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete or change to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// meant is the hint behind an unknown name, or "".
func meant(name string, names []string) string {
	if n := Nearest(name, names); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}
