package deploytest

import (
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/template"
)

// sizing is what the operator's book says of how large a fleet has to be: figures that
// were measured, and an example of what follows.
type sizing struct {
	Machine, Kernel, Commit string

	// Of loadtest/results: microseconds, bytes, and how many a second.
	IdleCPU, Churn, Small, Fleet, Large, Batched, Redis float64
	IdleBytes, Room                                     float64
	ChurnRate, Most                                     float64

	// Of other measurements, which the table names.
	Slab, Frame, Kept, Remembered float64 // bytes
	Empty                         float64 // megabytes

	example
}

type example struct {
	N, R, Members, M, P, C                     float64
	Idle, Delivering, Coming, Busy, Processors float64 // processors
	ForWork, ForLimit, Gateways, Left          float64 // gateways
	Each, Process, KernelMB, Descriptors, Mbit float64 // of one of those that are left
	Lost, Return, Seconds                      float64
	RedisBusy, RedisMB, RedisIDs               float64
}

const (
	headers = 66 // bytes around a frame: Ethernet, IP and TCP
	history = 256
	dedup   = 120 // seconds
)

func measured(t *testing.T) sizing {
	t.Helper()
	var bar struct {
		Machine struct{ Model, Kernel, Revision string }
		Lines   []struct {
			What, Note string
			Measured   float64
		}
	}
	if err := json.Unmarshal([]byte(read(t, "loadtest/results/bar.json")), &bar); err != nil {
		t.Fatal(err)
	}
	line := func(what string) (float64, string) {
		for _, l := range bar.Lines {
			if l.What == what {
				return l.Measured, l.Note
			}
		}
		t.Fatalf("loadtest/results/bar.json has no %q", what)
		return 0, ""
	}
	value := func(what string) float64 { v, _ := line(what); return v }
	// Seconds a million are microseconds each: user and system.
	cpu := func(what string) float64 {
		_, note := line(what)
		m := regexp.MustCompile(`^([\d.]+) \+ ([\d.]+) s/million`).FindStringSubmatch(note)
		if m == nil {
			t.Fatalf("%q has the note %q", what, note)
		}
		user, _ := strconv.ParseFloat(m[1], 64)
		system, _ := strconv.ParseFloat(m[2], 64)
		return user + system
	}
	s := sizing{
		Machine: bar.Machine.Model, Kernel: "Linux " + bar.Machine.Kernel, Commit: bar.Machine.Revision,
		IdleCPU: value("idle: CPU of a connection and second"), IdleBytes: value("idle, 15,000 in one room: memory of a connection"),
		Churn: value("churn: CPU of a connection's coming, joining and going"), ChurnRate: value("churn: on one processor"),
		Small: cpu("rooms 1000 × 5, 64 under way: CPU per delivery"), Fleet: cpu("fleet 2 × 2500 and Redis, 20000/s: CPU per delivery"),
		Large: cpu("fanout 1 × 5000, one at a time: CPU per delivery"), Batched: cpu("fanout 1 × 5000, 16 under way: CPU per delivery"),
		Most: value("fanout 1 × 5000, 16 under way: on one processor"), Redis: value("publish to a room with history, batched: CPU of Redis"),
		Room: value("100,000 idle rooms: memory of each"),
		Slab: 3784, Frame: 292, Kept: 260, Remembered: 209, Empty: 24,
	}
	for _, said := range []string{"3,784 bytes of slab", "of 128 bytes is a frame of 292, and 66 bytes of headers"} {
		if !strings.Contains(read(t, "README.md"), said) {
			t.Errorf("the main README does not say %q any more: is it still so?", said)
		}
	}
	s.example = s.of(200_000, 2_000)
	return s
}

// of is a fleet with so many connections, in so many rooms of one message a second.
func (s sizing) of(connections, rooms float64) example {
	const million, spare, perGateway, mostEach, stay = 1e6, 0.6, 2, 80_000, 1800
	e := example{N: connections, R: rooms, Members: connections / rooms, P: rooms, M: connections, C: connections / stay}
	e.Idle, e.Delivering, e.Coming = e.N*s.IdleCPU/million, e.M*s.Fleet/million, e.C*s.Churn/million
	e.Busy = e.Idle + e.Delivering + e.Coming
	e.Processors = math.Ceil(e.Busy / spare)
	e.ForWork, e.ForLimit = math.Ceil(e.Processors/perGateway), math.Ceil(e.N/mostEach)
	e.Left = max(e.ForWork, e.ForLimit)
	e.Gateways, e.Each = e.Left+1, math.Ceil(e.N/e.Left)
	e.Process = s.Empty + (e.Each*s.IdleBytes+e.R*(s.Room+history*s.Frame))/million
	e.KernelMB, e.Descriptors = e.Each*s.Slab/million, e.Each+200
	e.Mbit = e.M / e.Left * (s.Frame + headers) * 8 / million
	e.Lost = e.N / e.Gateways
	e.Return, e.Seconds = e.Lost/e.Left*s.Churn/million, math.Ceil(e.Lost/e.Left/1000)
	e.RedisBusy = 100 * e.P * s.Redis / million
	e.RedisIDs = e.P * dedup * s.Remembered / million
	e.RedisMB = e.R*history*s.Kept/million + e.RedisIDs
	return e
}

// shown is a number to three digits, in thousands.
func shown(v float64) string {
	if v >= 100 {
		text := strconv.Itoa(int(math.Round(v)))
		for i := len(text) - 3; i > 0; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
		return text
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// What the book says of sizes is what was measured, and is worked out from it.
func TestTheBookSizesByWhatWasMeasured(t *testing.T) {
	made := template.Must(template.New("sizing").Funcs(template.FuncMap{"n": shown}).Parse(read(t, "internal/deploytest/testdata/sizing.md")))
	var text strings.Builder
	if err := made.Execute(&text, measured(t)); err != nil {
		t.Fatal(err)
	}
	inBook(t, "sizing", text.String())
}
