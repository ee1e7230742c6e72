package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/config"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

func write(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// allow is a configuration with one origin.
func allow(origin string) string {
	return "listen: 127.0.0.1:0\norigins: [\"https://" + origin + "\"]\n"
}

// allows waits until a page of an origin may connect.
func (p *process) allows(origin string) {
	p.t.Helper()
	p.until(origin+" may connect", func() bool {
		conn, status := p.connect("Origin: https://" + origin)
		conn.Close()
		return status == 101
	})
}

func TestSIGHUPPutsTheFileIntoForce(t *testing.T) {
	t.Parallel()
	file := write(t, filepath.Join(t.TempDir(), "f.yaml"), allow("a.example"))
	p := serving(t, "--config", file)
	p.allows("a.example")
	started := p.metric("fanfare_config_last_success_timestamp_seconds")
	p.hangUp()
	p.reloads("unchanged", 1)
	p.logs("INFO", "configuration unchanged")

	write(t, file, allow("b.example")+"log.level: warn\n")
	p.hangUp()
	p.reloads("applied", 1)
	p.allows("b.example")
	if conn, status := p.connect("Origin: https://a.example"); status != 403 {
		conn.Close()
		t.Errorf("an origin that is gone: %d", status)
	}
	if now := p.metric("fanfare_config_last_success_timestamp_seconds"); now < started {
		t.Errorf("last loaded at %s, started at %s", now, started)
	}
	p.hangUp()
	p.reloads("unchanged", 2)
	if n := strings.Count(p.log.String(), "configuration unchanged"); n != 1 {
		t.Errorf("%d lines of info above the level warn: %s", n-1, p.log)
	}
}

func TestTheFileIsWatchedHoweverItIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// As a Kubernetes volume has it: f.yaml → ..data/f.yaml, and ..data → ..1.
	for i, origin := range []string{"a.example", "b.example"} {
		version := filepath.Join(dir, fmt.Sprint("..", i))
		if err := os.Mkdir(version, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(version, "f.yaml"), allow(origin))
	}
	link := func(to, at string) {
		t.Helper()
		if err := os.Symlink(to, at+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(at+".new", at); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "f.yaml")
	link("..0", filepath.Join(dir, "..data"))
	link(filepath.Join("..data", "f.yaml"), file)
	p := serving(t, "--config", file)
	p.allows("a.example")

	link("..1", filepath.Join(dir, "..data"))
	p.reloads("applied", 1)
	p.allows("b.example")
	p.logs("INFO", "configuration applied", "keys=origins")

	// As editors do it: another file takes the name.
	if err := os.Rename(write(t, file+"~", allow("c.example")), file); err != nil {
		t.Fatal(err)
	}
	p.reloads("applied", 2)
	p.allows("c.example")

	// In place.
	write(t, file, allow("d.example"))
	p.reloads("applied", 3)
	p.allows("d.example")

	// Away, and back as another.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(lookEvery+lookEvery/2, func() { _ = os.WriteFile(file, []byte(allow("e.example")), 0o600) })
	p.reloads("applied", 4)
	p.allows("e.example")
	p.reloads("failed", 0)
}

func TestABadFileChangesNothingAndSaysWhy(t *testing.T) {
	t.Parallel()
	file := write(t, filepath.Join(t.TempDir(), "f.yaml"), allow("a.example"))
	p := serving(t, "--config", file)
	write(t, file, allow("b.example")+"limits: {connections: many}\nlog.level: loud\n")
	p.hangUp()
	p.reloads("failed", 1)
	p.logs("ERROR", "f.yaml:3: limits.connections cannot be")
	p.logs("ERROR", "f.yaml:4: log.level cannot be")
	p.allows("a.example")
	if conn, status := p.connect("Origin: https://b.example"); status != 403 {
		conn.Close()
		t.Errorf("an origin of a bad file: %d", status)
	}
	p.hangUp()
	p.reloads("failed", 2)
	write(t, file, allow("b.example"))
	p.reloads("applied", 1)
	p.allows("b.example")
}

// A file that has lost its content opens no door.
func TestAFileThatIsEmptyNowChangesNothing(t *testing.T) {
	t.Parallel()
	file := write(t, filepath.Join(t.TempDir(), "f.yaml"), allow("a.example"))
	p := serving(t, "--config", file)
	write(t, file, "")
	p.hangUp()
	p.reloads("failed", 1)
	p.logs("ERROR", "it is empty now")
	p.allows("a.example")
	write(t, file, "{}")
	p.hangUp()
	p.reloads("applied", 1)
	if conn, status := p.connect("Origin: https://a.example"); status != 403 {
		conn.Close()
		t.Errorf("an origin that is gone: %d", status)
	}
}

func TestWhatNeedsARestartIsNamedAndTheRestApplied(t *testing.T) {
	t.Parallel()
	file := write(t, filepath.Join(t.TempDir(), "f.yaml"), allow("a.example"))
	p := serving(t, "--config", file, "--loops", "1")
	restart := "echo: true\nredis: {url: \"redis://:hidden@127.0.0.1:1\"}\nheartbeat.interval: 5s\nloops: 7\n"
	write(t, file, allow("b.example")+restart)
	p.reloads("applied", 1)
	p.allows("b.example")
	p.logs("WARN", "restart", `"echo heartbeat.interval redis.url"`) // loops is the flag's
	p.logs("INFO", "configuration applied", "origins")
	// Said again as long as it is so, though nothing else changes.
	p.hangUp()
	p.reloads("unchanged", 1)
	if n := strings.Count(p.log.String(), "change with a restart"); n != 2 {
		t.Errorf("%d warnings of 2: %s", n, p.log)
	}
	if strings.Contains(p.log.String(), "hidden") {
		t.Errorf("a password is logged: %s", p.log)
	}
	write(t, file, allow("b.example"))
	p.hangUp()
	p.reloads("unchanged", 2)
	if n := strings.Count(p.log.String(), "change with a restart"); n != 2 {
		t.Errorf("a warning of what is as at the start: %s", p.log)
	}
}

// A member of a room in use that does not read is moved by the policy that a
// reload brings, without a message that comes after it.
func TestARoomInUseHasTheWindowOfTheReload(t *testing.T) {
	t.Parallel()
	file := write(t, filepath.Join(t.TempDir(), "f.yaml"), "listen: 127.0.0.1:0\nrooms: [{match: '*', slow: {window_messages: 10000, window_bytes: 0}}]\n")
	p := serving(t, "--config", file)
	join := func() net.Conn {
		conn, status := p.connect()
		if status != 101 {
			t.Fatalf("handshake: %d", status)
		}
		p.send(conn, `{"type":"join","payload":{"room":"r"}}`)
		return conn
	}
	join()
	p.until("a member", func() bool { return p.metric("fanfare_memberships") == "1" })
	publisher, _ := p.connect()
	data := strings.Repeat("x", 30<<10)
	for range 200 {
		p.send(publisher, `{"type":"publish","payload":{"room":"r","data":"`+data+`"}}`)
	}
	p.until("all is stored", func() bool { return p.metric(`fanfare_messages_published_total{result="stored"}`) == "200" })
	const dropped = `fanfare_dropped_frames_total{policy="conflate",stage="queue"}`
	if n := p.metric(dropped); n != "0" {
		t.Fatalf("%s dropped before", n)
	}
	write(t, file, "listen: 127.0.0.1:0\nrooms: [{match: '*', slow: {policy: conflate, window_messages: 4}}]\n")
	p.hangUp()
	p.until("the member is moved", func() bool { return p.metric(dropped) != "0" })
}

func TestWithoutAFileSIGHUPIsHarmless(t *testing.T) {
	t.Parallel()
	p := serving(t, "--listen", "127.0.0.1:0")
	p.hangUp()
	p.reloads("unchanged", 1)
}

// A pipe gives what is in it once. Read again it would be an empty file, which is
// one of all defaults.
func TestAPipeIsNotReadASecondTime(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString(allow("a.example")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	p := servingOn(t, r, "--config", "/dev/stdin")
	r.Close()
	p.hangUp()
	p.reloads("failed", 1)
	p.logs("ERROR", "/dev/stdin", "no regular file")
	p.allows("a.example")
}

// reloading is a reloader of a gateway within the test, whose looks are the test's.
type reloading struct {
	*reloader
	file string
	log  *journal
}

func newReloading(t *testing.T, text string) *reloading {
	t.Helper()
	r := &reloading{file: write(t, filepath.Join(t.TempDir(), "f.yaml"), text), log: new(journal)}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.Flags(flags)
	if err := flags.Parse([]string{"--config", r.file, "--listen", "127.0.0.1:0"}); err != nil {
		t.Fatal(err)
	}
	load := func() (*config.Config, error) { return config.Load(flags, nil) }
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	files := printsOf(c.Files())
	log, set := slog.New(slog.NewTextHandler(r.log, nil)), metrics.NewSet("", metrics.NewLoops(c.LoopCount()))
	s, err := newSettings(c, nil, set, log)
	if err != nil {
		t.Fatal(err)
	}
	on, err := newGateway(s, set, log, new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	on.gateway.Start()
	t.Cleanup(func() { on.gateway.Stop(t.Context()) })
	r.reloader = newReloader(on, s, files, load, nil)
	return r
}

func TestAFileIsReadOnceItHoldsStill(t *testing.T) {
	r := newReloading(t, "accept_rate: 1\n")
	if wait := r.look(); wait != lookEvery || r.settling != nil {
		t.Errorf("unchanged: looks again after %v", wait)
	}
	write(t, r.file, "accept_rate: 2\n")
	if wait := r.look(); wait != settleTime || r.now.live.AcceptRate != 1 {
		t.Errorf("just changed: looks again after %v, the rate is %d", wait, r.now.live.AcceptRate)
	}
	write(t, r.file, "accept_rate: 3\n")
	if wait := r.look(); wait != settleTime || r.now.live.AcceptRate != 1 {
		t.Errorf("changed again: looks again after %v, the rate is %d", wait, r.now.live.AcceptRate)
	}
	if wait := r.look(); wait != lookEvery || r.now.live.AcceptRate != 3 {
		t.Errorf("held still: looks again after %v, the rate is %d", wait, r.now.live.AcceptRate)
	}
	// Back before it held still: nothing to be done.
	write(t, r.file, "accept_rate: 4\n")
	r.look()
	write(t, r.file, "accept_rate: 3\n")
	if wait := r.look(); wait != lookEvery || r.settling != nil {
		t.Errorf("back again: looks again after %v", wait)
	}
}

func TestABadFileIsTriedOnceUntilItChanges(t *testing.T) {
	r := newReloading(t, "accept_rate: 1\n")
	write(t, r.file, "accept_rate: fast\n")
	for range 10 {
		r.look()
	}
	if n := strings.Count(r.log.String(), "configuration not applied"); n != 1 {
		t.Errorf("tried %d times: %s", n, r.log)
	}
	write(t, r.file, "accept_rate: 2\n")
	r.look()
	r.look()
	if r.now.live.AcceptRate != 2 {
		t.Errorf("the rate is %d once the file is good", r.now.live.AcceptRate)
	}
}

func TestAFileThatStaysAwayIsSaidOnce(t *testing.T) {
	r := newReloading(t, "accept_rate: 1\n")
	if err := os.Remove(r.file); err != nil {
		t.Fatal(err)
	}
	for range 3 * awayLooks {
		if wait := r.look(); wait != lookEvery {
			t.Errorf("looks again after %v", wait)
		}
	}
	if n := strings.Count(r.log.String(), "is gone"); n != 1 || r.now.live.AcceptRate != 1 {
		t.Errorf("said %d times, the rate is %d: %s", n, r.now.live.AcceptRate, r.log)
	}
	r.reload() // asked for: then it is an error
	if !strings.Contains(r.log.String(), "no such file") {
		t.Errorf("log: %s", r.log)
	}
	write(t, r.file, "accept_rate: 2\n")
	r.look()
	r.look()
	if r.now.live.AcceptRate != 2 {
		t.Errorf("the rate is %d once the file is back", r.now.live.AcceptRate)
	}
}

// A key that is said to be live must change what a reload puts into force.
func TestEveryLiveKeyIsPutIntoForce(t *testing.T) {
	values := map[string]string{
		"bool": "true", "int": "7", "size": "7MiB", "duration": "7s",
		"log-level": "debug", "origins": "https://a.example", "trusted-proxies": "10.0.0.0/8", "rooms": "[{match: a}]",
	}
	load := func(args ...string) *config.Config {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		config.Flags(flags)
		if err := flags.Parse(args); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(flags, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.Flags(all)
	found := 0
	all.VisitAll(func(f *pflag.Flag) {
		value, ok := values[f.Name]
		if !ok {
			value, ok = values[f.Value.Type()]
		}
		if !ok || strings.HasPrefix(f.Name, "auth-") || f.Name == "proxy-protocol" || strings.HasPrefix(f.Name, "heartbeat-") {
			return
		}
		before, after := load(), load("--"+f.Name+"="+value)
		if live, _ := config.Changes(before, after); len(live) == 0 {
			return
		}
		found++
		was, err := newSettings(before, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		is, err := newSettings(after, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if reflect.DeepEqual(was.live, is.live) && before.Log == after.Log {
			t.Errorf("%s is live, and nothing comes of it", f.Name)
		}
	})
	if found < 18 {
		t.Errorf("%d keys were tried", found)
	}
}

// A secret is changed by giving both for a while. One that cannot be read changes
// nothing.
func TestSecretsOfTokensAreReloaded(t *testing.T) {
	dir := t.TempDir()
	secret := func(name, text string) string {
		file := filepath.Join(dir, name)
		write(t, file, text)
		return file
	}
	old, next := secret("old", "0123456789abcdef0123456789abcdef"), secret("next", "fedcba9876543210fedcba9876543210")
	r := newReloading(t, "auth: {required: true, hs256_secret_file: ["+old+"]}\n")
	takes := func(file string) bool {
		signer, err := auth.SecretSigner(file)
		if err != nil {
			t.Fatal(err)
		}
		token, err := signer.Sign(auth.Claims{Subject: "ada", Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.now.live.Auth.Verifier.Verify(token)
		return err == nil
	}
	if !takes(old) || takes(next) || !r.now.live.Auth.Required {
		t.Fatalf("%+v", r.now.live.Auth)
	}
	write(t, r.file, "auth: {hs256_secret_file: ["+old+", "+next+"]}\n")
	r.reload()
	if !takes(old) || !takes(next) || r.now.live.Auth.Required {
		t.Errorf("both are given: %v %v %+v", takes(old), takes(next), r.now.live.Auth)
	}
	write(t, next, "short")
	r.reload()
	if !strings.Contains(r.log.String(), "not applied") {
		t.Errorf("%s", r.log)
	}
	write(t, next, "fedcba9876543210fedcba9876543210")
	if !takes(next) {
		t.Error("a secret that could not be read ended the one before")
	}
	write(t, r.file, "auth: {hs256_secret_file: ["+next+"]}\n")
	r.reload()
	if takes(old) || !takes(next) {
		t.Error("the old one still counts, or the new one does not")
	}
}
