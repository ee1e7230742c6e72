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
	"testing"
	"time"
)

// sample is a command of the README's transcripts, and what it prints.
type sample struct{ command, output string }

// readme returns the part of the README under a heading.
func readme(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n### "+heading+"\n")
	if !ok {
		t.Fatalf("no ### %s", heading)
	}
	part, _, _ := strings.Cut(rest, "\n### ")
	return part
}

// blocks returns the code blocks of a kind.
func blocks(part, kind string) (found []string) {
	for _, m := range regexp.MustCompile("(?ms)^```"+kind+"\n(.*?)^```$").FindAllStringSubmatch(part, -1) {
		found = append(found, m[1])
	}
	return found
}

func samples(part string) (all []sample) {
	for _, block := range blocks(part, "console") {
		for line := range strings.Lines(block) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, sample{command: strings.TrimSpace(command)})
			} else {
				all[len(all)-1].output += line
			}
		}
	}
	return all
}

// changing is what is another each time: what stands in the README is an example.
var changing = regexp.MustCompile(`"(epoch|id|version)":"[^"]+"|"(time|load)":[0-9.]+`)

func settled(output string) string { return changing.ReplaceAllString(output, `"$1$2":…`) }

// shell is one sh for all commands: they share variables.
type shell struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

func newShell(t *testing.T, dir string) *shell {
	t.Helper()
	cmd := exec.Command("sh")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
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
	s := &shell{t, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		fmt.Fprintln(in, `for job in $(jobs -p); do kill $job; wait $job; done`)
		_ = in.Close()
		_ = cmd.Wait()
	})
	return s
}

// run returns what a command prints. One in the background has its own output.
func (s *shell) run(command string) string {
	s.t.Helper()
	const end = "=== end of it ==="
	if background, ok := strings.CutSuffix(command, "&"); ok {
		if !strings.Contains(background, ">") {
			background += "> log"
		}
		command = background + " 2>> log &"
	}
	if _, err := fmt.Fprintf(s.in, "%s\necho '%s'\n", command, end); err != nil {
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

// What the README shows of the HTTP API is what happens, with other addresses.
func TestTheTranscriptsOfTheReadme(t *testing.T) {
	for _, tool := range []string{"curl", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
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
	part := readme(t, "The HTTP API")
	write(t, filepath.Join(dir, "keys.yaml"), blocks(part, "yaml")[0])
	write(t, filepath.Join(dir, "secret"), strings.Repeat("0123456789abcdef", 3))
	listen, admin := freePort(t), freePort(t)
	addresses := strings.NewReplacer("bin/fanfare serve", "bin/fanfare serve --listen "+listen+" --admin-listen "+admin,
		"bin/fanfare tail", "bin/fanfare tail --url http://"+listen, "127.0.0.1:9090", admin)
	s := newShell(t, dir)
	commands := samples(part)
	if len(commands) < 15 {
		t.Fatalf("%d commands: the test is blind", len(commands))
	}
	for _, c := range commands {
		command := addresses.Replace(c.command)
		got := s.run(command)
		if strings.Contains(command, "serve") {
			awaitReady(t, "http://"+admin+"/readyz")
		}
		// What only asks may have been too early.
		asks := strings.Contains(command, "curl") && !strings.Contains(command, " -d ") && !strings.Contains(command, " -X ")
		for deadline := time.Now().Add(patience); asks && settled(got) != settled(c.output) && time.Now().Before(deadline); {
			<-time.After(20 * time.Millisecond)
			got = s.run(command)
		}
		if settled(got) != settled(c.output) {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Errorf("$ %s\n%s\nthe README has\n%s\nand the log\n%s", c.command, got, c.output, log)
		}
	}
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
