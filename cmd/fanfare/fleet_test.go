package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/client"
)

// redisServer is one of its own for a test.
type redisServer struct {
	url string
	cmd *exec.Cmd
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	address := freePort(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--appendonly", "no", "--loglevel", "warning")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return &redisServer{"redis://" + address, cmd}
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (r *redisServer) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

const apiKey = "key-of-the-fleet-test"

// call asks a gateway, by its admin address.
func (p *process) call(method, path, body string) (status int, header http.Header, answer string) {
	p.t.Helper()
	r, err := http.NewRequest(method, "http://"+p.admin+"/v1"+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+apiKey)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, response.Header, strings.TrimSuffix(string(text), "\n")
}

// answers waits until a question is answered so.
func (p *process) answers(path, want string) {
	p.t.Helper()
	got := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		if _, _, got = p.call("GET", path, ""); got == want {
			return
		}
	}
	p.t.Fatalf("%s answers %s, want %s", path, got, want)
}

// member is a client in a room, and what it has been told.
type member struct {
	t *testing.T

	mu   sync.Mutex
	told []string
}

// member joins a room and ends with the test.
func (p *process) member(room, token string) *member {
	p.t.Helper()
	m := &member{t: p.t}
	c, err := client.New(client.Config{
		URL: "http://" + p.addr, Rooms: []client.Subscription{{Room: room}}, OnEvent: m.event,
		Token: func(context.Context) (string, error) { return token, nil },
	})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		err := c.Run(ctx)
		m.tell(fmt.Sprint("ended: ", err))
	})
	p.t.Cleanup(func() {
		end()
		done.Wait()
	})
	m.until("joined")
	return m
}

func (m *member) tell(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, what)
}

func (m *member) event(e client.Event) {
	switch e := e.(type) {
	case client.Joined:
		m.tell("joined")
	case client.Message:
		m.tell(fmt.Sprintf("%d %s %q %s", e.Seq, e.From, e.Event, e.Data))
	case client.Reset:
		m.tell(fmt.Sprint("reset to ", e.Seq))
	case client.State:
		if e.Err != nil {
			m.tell(fmt.Sprint(e.Status, ": ", e.Err))
		}
	}
}

// until waits until the member was told something with this in it.
func (m *member) until(part string) {
	m.t.Helper()
	var told []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		m.mu.Lock()
		told = append(told[:0], m.told...)
		m.mu.Unlock()
		for _, what := range told {
			if strings.Contains(what, part) {
				return
			}
		}
	}
	m.t.Fatalf("a member was not told %q, but %q", part, told)
}

// fleet starts n gateways over one Redis that take tokens and keys.
func fleet(t *testing.T, n int) (gateways []*process, start func() *process, sign func(auth.Claims) string, redis *redisServer) {
	t.Helper()
	redis = startRedis(t)
	dir := t.TempDir()
	secret := write(t, filepath.Join(dir, "secret"), "0123456789abcdef0123456789abcdef")
	keys := write(t, filepath.Join(dir, "keys.yaml"), "- {name: backend, key: "+apiKey+", allow: [publish, read, admin]}\n")
	signer, err := auth.SecretSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	sign = func(c auth.Claims) string {
		t.Helper()
		c.Issued, c.Expires = time.Now(), time.Now().Add(time.Hour)
		token, err := signer.Sign(c)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	start = func() *process {
		t.Helper()
		return serving(t, "--listen", "127.0.0.1:0", "--redis-url", redis.url, "--auth-hs256-secret-file", secret, "--api-keys-file", keys)
	}
	for range n {
		gateways = append(gateways, start())
	}
	return gateways, start, sign, redis
}

// Whichever gateway is asked answers for all.
func TestTheCallsSpeakForTheWholeFleet(t *testing.T) {
	t.Parallel()
	gateways, start, sign, _ := fleet(t, 2)
	a, b := gateways[0], gateways[1]
	ada := b.member("news/today", sign(auth.Claims{Subject: "ada", TokenID: "t1"}))
	tab := a.member("news/today", sign(auth.Claims{Subject: "ada", TokenID: "t2"}))
	zoe := b.member("news/today", sign(auth.Claims{Subject: "zoe"}))

	a.answers("/rooms/news%2Ftoday/members", `{"room":"news/today","count":2,"users":[{"user":"ada","connections":2},{"user":"zoe","connections":1}]}`)
	status, _, stored := a.call("POST", "/rooms/news/today/messages", `{"data": {"n" : 1,"s":"\u00e9<"} ,"event":"flash","id":"m1"}`)
	if status != 200 {
		t.Fatalf("publish: %d %s", status, stored)
	}
	for _, m := range []*member{ada, tab, zoe} {
		m.until(`1 backend "flash" {"n" : 1,"s":"\u00e9<"}`)
	}
	if _, _, again := b.call("POST", "/rooms/news/today/messages", `{"data":2,"id":"m1"}`); again != strings.TrimSuffix(stored, "}")+`,"duplicate":true}` {
		t.Errorf("again: %s, after %s", again, stored)
	}
	if _, _, h := b.call("GET", "/rooms/news/today/messages", ""); !strings.Contains(h, `"from":"backend","event":"flash","data":{"n" : 1,"s":"\u00e9<"}}],"first":1,"last":1}`) {
		t.Errorf("history: %s", h)
	}
	var epoch struct{ Epoch string }
	if err := json.Unmarshal([]byte(stored), &epoch); err != nil {
		t.Fatal(err)
	}
	a.answers("/rooms", `{"rooms":[{"room":"news/today","epoch":"`+epoch.Epoch+`","seq":1,"members":2}]}`)

	if status, _, _ := b.call("DELETE", "/rooms/news/today/messages", ""); status != 204 {
		t.Errorf("forget: %d", status)
	}
	for _, m := range []*member{ada, tab, zoe} {
		m.until("reset to 0")
	}

	b.until("two gateways with three connections", func() bool {
		var list struct{ Gateways []struct{ Connections int } }
		_, _, text := b.call("GET", "/gateways", "")
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		return len(list.Gateways) == 2 && list.Gateways[0].Connections+list.Gateways[1].Connections == 3
	})

	// A token is revoked, everywhere and for who comes back.
	begun := time.Now()
	if status, _, text := a.call("POST", "/revocations", `{"jti":"t1"}`); status != 200 {
		t.Errorf("revoke: %d %s", status, text)
	}
	ada.until("4001")
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the other gateway took %v to revoke", took)
	}
	ada.until("ended: ")
	c := start()
	for _, p := range []*process{a, b, c} {
		p.until("the revoked token is refused, the other is not", func() bool {
			one, refused := p.connect("Authorization: Bearer " + sign(auth.Claims{Subject: "ada", TokenID: "t1"}))
			other, taken := p.connect("Authorization: Bearer " + sign(auth.Claims{Subject: "ada", TokenID: "t2"}))
			one.Close()
			other.Close()
			return refused == 401 && taken == 101
		})
	}
	if _, _, kept := c.call("GET", "/revocations", ""); !strings.HasPrefix(kept, `{"revocations":[{"jti":"t1","until":"`) {
		t.Errorf("kept: %s", kept)
	}

	// A user is disconnected, through a gateway that has none of its connections.
	if status, _, _ := c.call("DELETE", "/users/ada/connections", ""); status != 204 {
		t.Errorf("disconnect: %d", status)
	}
	tab.until("4005")
	tab.until("ended: ")
	c.answers("/rooms/news%2Ftoday/members", `{"room":"news/today","count":1,"users":[{"user":"zoe","connections":1}]}`)
}

// While Redis stands still or is gone nothing is said to be stored that is not,
// and what was said to be is there afterwards.
func TestEachResultIsTrueWhileRedisComesAndGoes(t *testing.T) {
	t.Parallel()
	gateways, _, _, redis := fleet(t, 2)
	stored := make(map[uint64]string) // by seq
	refused := 0
	publish := func(p *process, i int) (status int) {
		t.Helper()
		status, header, text := p.call("POST", "/messages", fmt.Sprintf(`[{"room":"r","data":"%d-0","id":"%d-0"},{"room":"r","data":"%d-1","id":"%d-1"}]`, i, i, i, i))
		var results []struct {
			Seq   uint64
			Error struct {
				Status int
				Code   string
			}
		}
		if err := json.Unmarshal([]byte(text), &results); err != nil || status != 200 || len(results) != 2 {
			t.Fatalf("%d %v %s", status, header, text)
		}
		for k, r := range results {
			switch data := fmt.Sprintf(`"%d-%d"`, i, k); {
			case r.Seq > 0 && stored[r.Seq] == "":
				stored[r.Seq] = data
			case r.Seq > 0:
				t.Errorf("%d is %s and %s", r.Seq, stored[r.Seq], data)
			case r.Error.Status == 503 && r.Error.Code == "unavailable":
				refused++
			default:
				t.Errorf("%s", text)
			}
		}
		return results[1].Error.Status
	}
	i := 0
	for range 10 {
		publish(gateways[i%2], i)
		i++
	}
	redis.signal(t, syscall.SIGSTOP)
	for range 3 {
		publish(gateways[i%2], i)
		i++
	}
	if status, header, text := gateways[0].call("POST", "/rooms/r/messages", `{"data":1}`); status != 503 || header.Get("Retry-After") == "" ||
		header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("while Redis stands still: %d %v %s", status, header, text)
	}
	if status, _, text := gateways[1].call("GET", "/rooms/r", ""); status != 503 {
		t.Errorf("while Redis stands still: %d %s", status, text)
	}
	redis.signal(t, syscall.SIGCONT)
	for done := 0; done < 10; i++ {
		if publish(gateways[i%2], i) == 0 {
			done++
		}
		<-time.After(20 * time.Millisecond)
	}
	if refused == 0 {
		t.Error("nothing was refused: the test is blind")
	}
	var page struct {
		Messages []struct {
			Seq  uint64
			Data json.RawMessage
		}
	}
	_, _, text := gateways[0].call("GET", "/rooms/r/messages?after=0&limit=1000", "")
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		t.Fatal(err)
	}
	kept := make(map[uint64]string)
	for _, m := range page.Messages {
		kept[m.Seq] = string(m.Data)
	}
	for seq, data := range stored {
		if kept[seq] != data {
			t.Errorf("%d was said to be %s and is %s", seq, data, kept[seq])
		}
	}
	if len(stored) < 20 {
		t.Errorf("%s are stored", strconv.Itoa(len(stored)))
	}
}

// The keys' file is part of what a reload reads.
func TestKeysAreReloaded(t *testing.T) {
	t.Parallel()
	file := write(t, filepath.Join(t.TempDir(), "keys.yaml"), "- {name: a, key: another-key-of-the-test, allow: [read]}\n")
	p := serving(t, "--listen", "127.0.0.1:0", "--api-keys-file", file)
	if status, _, text := p.call("GET", "/rooms/a", ""); status != 401 {
		t.Errorf("before: %d %s", status, text)
	}
	write(t, file, "- {name: a, key: another-key-of-the-test, allow: [read]}\n- {name: b, key: "+apiKey+", allow: [read]}\n")
	p.reloads("applied", 1)
	if status, _, text := p.call("GET", "/rooms/a", ""); status != 200 {
		t.Errorf("after: %d %s", status, text)
	}
	write(t, file, "- {name: a, key: '', allow: [read]}\n")
	p.hangUp()
	p.reloads("failed", 1)
	if status, _, text := p.call("GET", "/rooms/a", ""); status != 200 {
		t.Errorf("after a bad file: %d %s", status, text)
	}
	// A short key counts, and its owner is told.
	write(t, file, "- {name: b, key: "+apiKey+", allow: [read]}\n- {name: shorty, key: kq7zv, allow: [read]}\n")
	p.hangUp()
	p.reloads("applied", 2)
	p.logs("level=WARN", "an API key is short", "name=shorty")
	if log := p.log.String(); strings.Contains(log, apiKey) || strings.Contains(log, "kq7zv") {
		t.Error("a key is logged")
	}
}

// With --dev a gateway without keys answers whoever is on its machine.
func TestDevNeedsNoKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		flags []string
		want  int
	}{{nil, 401}, {[]string{"--dev"}, 200}} {
		p := serving(t, append([]string{"--listen", "127.0.0.1:0"}, tt.flags...)...)
		response, err := http.Post("http://"+p.admin+"/v1/rooms/a/messages", "application/json", strings.NewReader(`{"data":1}`))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != tt.want {
			t.Errorf("%q: %d", tt.flags, response.StatusCode)
		}
	}
}
