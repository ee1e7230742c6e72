package main

import (
	"crypto/sha256"
	"os"
)

// prints tell the content of files apart, by their names.
type prints map[string]print

// print is a hash of a file's content. The zero value is that of no file.
type print [sha256.Size]byte

// unreadable is what is there and no regular file: a pipe gives its content once,
// so that it is never looked into.
var unreadable = print{1}

// nothing is of a file without a byte.
var nothing = print(sha256.Sum256(nil))

func printsOf(files []string) prints {
	p := make(prints, len(files))
	for _, file := range files {
		p[file] = printOf(file)
	}
	return p
}

func printOf(file string) print {
	info, err := os.Stat(file)
	if err != nil {
		return print{}
	}
	if !info.Mode().IsRegular() {
		return unreadable
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return print{}
	}
	return sha256.Sum256(content)
}

// of is the prints of these files: as they are here, or else as they are now.
func (p prints) of(files []string) prints {
	q := make(prints, len(files))
	for _, file := range files {
		known, ok := p[file]
		if !ok {
			known = printOf(file)
		}
		q[file] = known
	}
	return q
}

// without returns a file that is here and is not in now, or "".
func (p prints) without(now prints) string {
	for file, was := range p {
		if was != (print{}) && now[file] == (print{}) {
			return file
		}
	}
	return ""
}
