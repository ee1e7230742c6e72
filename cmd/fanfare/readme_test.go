package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// transcript is a block of the README that begins with ```console: commands
// behind "$ ", each with what it prints, in which … stands for anything in a line.
// Words behind console are flags of the gateway that it runs against.
type transcript struct {
	line  int // in the file
	flags []string
	steps []step
}

type step struct {
	command string
	prints  string
}

func transcripts(t *testing.T, file string) (found []transcript) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var open *transcript
	for i, line := range strings.Split(string(text), "\n") {
		info, isConsole := strings.CutPrefix(line, "```console")
		switch {
		case open == nil && isConsole:
			open = &transcript{line: i + 1, flags: strings.Fields(info)}
		case open == nil:
		case line == "```":
			found = append(found, *open)
			open = nil
		case strings.HasPrefix(line, "$ "):
			open.steps = append(open.steps, step{command: line[len("$ "):]})
		case len(open.steps) == 0:
			t.Fatalf("%s:%d: no command: %s", file, i+1, line)
		default:
			open.steps[len(open.steps)-1].prints += line + "\n"
		}
	}
	return found
}

// TestTheReadmesTranscriptsAreTrue runs each against a gateway of its own, which
// is where the README says localhost:8080, and localhost:9090 for operators.
func TestTheReadmesTranscriptsAreTrue(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil && os.Getenv("CI") == "" {
		t.Skip("curl is missing")
	}
	all := transcripts(t, filepath.Join("..", "..", "README.md"))
	if len(all) == 0 {
		t.Fatal("there are none")
	}
	for _, tr := range all {
		t.Run(fmt.Sprintf("line %d", tr.line), func(t *testing.T) {
			p := serving(t, append([]string{"--listen", "127.0.0.1:0"}, tr.flags...)...)
			dir := t.TempDir()
			fanfare, err := exec.LookPath("fanfare")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(fanfare, filepath.Join(dir, "bin", "fanfare")); err != nil {
				t.Fatal(err)
			}
			real := strings.NewReplacer("localhost:8080", p.addr, "localhost:9090", p.admin)
			for _, s := range tr.steps {
				cmd := exec.Command("sh", "-c", real.Replace(s.command))
				cmd.Dir = dir
				out, _ := cmd.CombinedOutput() // one that is cut off after its time fails, and has printed what it has to
				if !matches(s.prints, string(out)) {
					t.Errorf("$ %s\n%s\nwant\n%s", s.command, out, s.prints)
				}
			}
		})
	}
}

// matches ignores blank lines at the end, which a block does not show.
func matches(pattern, text string) bool {
	quoted := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimRight(pattern, "\n")), "…", ".+")
	return regexp.MustCompile(`^` + quoted + `\n*$`).MatchString(text)
}

func TestATranscriptThatIsNotTrueIsSeen(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"a … c\n", "a b c\n\n", true}, {"a … c\n", "a b\nc\n", false}, {"a\n", "a b\n", false}, {"a\n", "b\na\n", false}, {"a.c\n", "abc\n", false},
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("%q is %q: %v", c.text, c.pattern, got)
		}
	}
}
