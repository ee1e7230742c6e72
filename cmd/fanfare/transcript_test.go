package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// transcript is what a section of the README shows in blocks that begin with
// ```console: commands behind "$ ", each with what it prints. They are one
// conversation, however many blocks: what a shell was told stays. Blocks of other
// kinds whose first line is "# NAME", or <!-- NAME -->, are files that lie beside it.
type transcript struct {
	heading string
	files   map[string]string
	steps   []step
}

type step struct {
	command string
	prints  string // … stands for anything in a line
}

// transcripts reads a document of Markdown. Sections without commands are none.
func transcripts(text string) (found []transcript) {
	for _, section := range regexp.MustCompile(`(?m)^##+ `).Split(text, -1) {
		heading, body, _ := strings.Cut(section, "\n")
		tr := transcript{heading: heading, files: files(body)}
		for _, block := range blocks(body) {
			if block.kind == "console" {
				tr.steps = append(tr.steps, steps(block.text)...)
			}
		}
		if len(tr.steps) > 0 {
			found = append(found, tr)
		}
	}
	return found
}

type block struct{ kind, text string }

func blocks(text string) (found []block) {
	for _, m := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		found = append(found, block{kind: m[1], text: m[2]})
	}
	return found
}

// files are the blocks that are one, by their names.
func files(text string) map[string]string {
	found := make(map[string]string)
	for _, block := range blocks(text) {
		name := regexp.MustCompile(`^(?:#|<!--) (\S+\.\w+)(?: -->)?\n`).FindStringSubmatch(block.text)
		if name != nil && block.kind != "console" {
			found[name[1]] = block.text
		}
	}
	return found
}

func steps(block string) (all []step) {
	for line := range strings.Lines(block) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, step{command: strings.TrimSpace(command)})
		} else if len(all) > 0 {
			all[len(all)-1].prints += line
		}
	}
	return all
}

// TestTheReadmesTranscriptsAreTrue has each conversation in a shell. A gateway is
// where the README says localhost:8080, and 127.0.0.1:9090 for operators: that of
// the conversation, or one that is started for it; and a Redis at 127.0.0.1:6379,
// where the conversation names it.
func TestTheReadmesTranscriptsAreTrue(t *testing.T) {
	for _, tool := range []string{"curl", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	all, commands := transcripts(string(text)), 0
	for _, tr := range all {
		commands += len(tr.steps)
		t.Run(tr.heading, func(t *testing.T) {
			t.Parallel()
			tr.run(t)
		})
	}
	if len(all) < 3 || commands < 20 {
		t.Errorf("%d commands in %d sections: the test is blind", commands, len(all))
	}
}

func (tr *transcript) run(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), strings.Repeat("0123456789abcdef", 3))
	listen, admin := freePort(t), freePort(t)
	real := []string{
		"bin/fanfare serve", "bin/fanfare serve --listen " + listen + " --admin-listen " + admin,
		"bin/fanfare tail", "bin/fanfare tail --url http://" + listen, "localhost:8080", listen, "127.0.0.1:9090", admin,
		"python3 ", python + " ",
	}
	tr.needPython(t)
	serves := false
	for _, s := range tr.steps {
		serves = serves || strings.HasPrefix(s.command, "bin/fanfare serve")
		if strings.Contains(s.command, "127.0.0.1:6379") {
			redis := strings.TrimPrefix(startRedis(t).url, "redis://")
			real = append(real, "127.0.0.1:6379", redis)
			break
		}
	}
	if !serves {
		tr.steps = append([]step{{command: "bin/fanfare serve &"}}, tr.steps...)
	}
	sh := newShell(t, dir)
	addresses := strings.NewReplacer(real...)
	for name, content := range tr.files {
		write(t, filepath.Join(dir, name), addresses.Replace(content))
	}
	for _, s := range tr.steps {
		command := addresses.Replace(s.command)
		got := sh.run(command)
		if strings.HasPrefix(s.command, "bin/fanfare serve") {
			awaitReady(t, "http://"+admin+"/readyz")
		}
		// What only asks may have been too early.
		prints := addresses.Replace(s.prints)
		for deadline := time.Now().Add(patience); s.asks() && !matches(prints, got) && time.Now().Before(deadline); {
			<-time.After(20 * time.Millisecond)
			got = sh.run(command)
		}
		if !matches(prints, got) {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Errorf("$ %s\n%s\nthe README has\n%s\nand the log\n%s", s.command, got, s.prints, log)
		}
	}
}

// python is Debian's, whose package the deps of the tests install.
const python = "/usr/bin/python3"

func (tr *transcript) needPython(t *testing.T) {
	t.Helper()
	for _, s := range tr.steps {
		if !strings.Contains(s.command, "python3 ") {
			continue
		}
		if err := exec.Command(python, "-c", "import websockets").Run(); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal("python3-websockets: ", err)
			}
			t.Skip("no python3-websockets: make deps installs it")
		}
		return
	}
}

// asks tells whether the command changes nothing, and may be given again.
func (s step) asks() bool {
	return strings.HasPrefix(s.command, "curl") && !strings.Contains(s.command, " -d ") && !strings.Contains(s.command, " -X ") ||
		strings.HasPrefix(s.command, "bin/fanfare events") || strings.HasPrefix(s.command, "cat ")
}

// changing is what is another each time, where the README has an example of it.
var changing = regexp.MustCompile(`"(epoch|id|version)":"[^"]+"|"(time|load)":[0-9.]+`)

// matches ignores blank lines at the end, which a block does not show.
func matches(pattern, text string) bool {
	pattern, text = changing.ReplaceAllString(pattern, `"$1$2":…`), changing.ReplaceAllString(text, `"$1$2":…`)
	quoted := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimRight(pattern, "\n")), "…", ".+")
	return regexp.MustCompile(`^` + quoted + `\n*$`).MatchString(text)
}

func TestATranscriptThatIsNotTrueIsSeen(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"a … c\n", "a b c\n\n", true}, {"a … c\n", "a b\nc\n", false}, {"a\n", "a b\n", false}, {"a\n", "b\na\n", false}, {"a.c\n", "abc\n", false},
		{`{"epoch":"a","seq":1}`, `{"epoch":"b","seq":1}`, true}, {`{"epoch":"a","seq":1}`, `{"epoch":"b","seq":2}`, false}, {"", "a\n", false},
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("%q is %q: %v", c.text, c.pattern, got)
		}
	}
}

// shell is one sh for all commands of a conversation.
type shell struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

// newShell starts one, in a folder with a bin/fanfare.
func newShell(t *testing.T, dir string) *shell {
	t.Helper()
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
	cmd := exec.Command("sh")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // which kill 0 is about
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		fmt.Fprintln(in, `trap : TERM; kill 0; wait; wait`) // pipelines too; the trap ends the first wait
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &shell{t, in, bufio.NewReader(out)}
}

// run returns what a command prints. One in the background has its own output.
func (s *shell) run(command string) string {
	s.t.Helper()
	const end = "=== end of it ==="
	if background, ok := strings.CutSuffix(command, "&"); ok {
		if !strings.Contains(background, ">") {
			background += ">> log"
		}
		command = background + " 2>> log &"
	}
	if _, err := fmt.Fprintf(s.in, "%s\necho\necho '%s'\n", command, end); err != nil {
		s.t.Fatal(err)
	}
	var output strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Fatalf("%s: %v", command, err)
		}
		if strings.TrimSpace(line) == end {
			return output.String()
		}
		output.WriteString(line)
	}
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func awaitReady(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		response, err := http.Get(url)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not ready: %v", url, err)
		}
		<-time.After(10 * time.Millisecond)
	}
}
