package plan

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// file is a scenario as it stands in YAML. What is left out has the defaults that
// the comments tell.
type file struct {
	Description string        `yaml:"description"`
	Duration    time.Duration `yaml:"duration"` // 60s
	Warmup      time.Duration `yaml:"warmup"`   // 2s
	Groups      []fileGroup   `yaml:"groups"`
	Streams     []fileStream  `yaml:"streams"`
	Cut         *fileCut      `yaml:"cut"`
}

type fileGroup struct {
	Name        string        `yaml:"name"`
	Connections int           `yaml:"connections"` // of a group with arrive: as many as are needed
	Rooms       fileRooms     `yaml:"rooms"`
	Each        int           `yaml:"each"` // 1
	Last        int           `yaml:"last"`
	Stalled     float64       `yaml:"stalled"`
	Arrive      float64       `yaml:"arrive"`
	Stay        time.Duration `yaml:"stay"`
	Gateway     *int          `yaml:"gateway"` // all in turn
}

type fileRooms struct {
	Prefix string  `yaml:"prefix"`
	Count  int     `yaml:"count"` // 1
	Skew   float64 `yaml:"skew"`
}

type fileStream struct {
	Name       string     `yaml:"name"`
	From       string     `yaml:"from"`
	Publishers int        `yaml:"publishers"` // 1 where no group is named
	Rooms      *fileRooms `yaml:"rooms"`      // those of the group in from
	Rate       float64    `yaml:"rate"`
	Arrival    Arrival    `yaml:"arrival"` // even
	Burst      int        `yaml:"burst"`
	Payload    int        `yaml:"payload"` // 128
	PayloadMax int        `yaml:"payload_max"`
	Gateway    *int       `yaml:"gateway"`
}

type fileCut struct {
	After time.Duration `yaml:"after"`
}

// Parse reads a scenario file. scale multiplies its connections and rates.
// Whatever is wrong is a *Problem with the line; name is the file's.
func Parse(name string, text []byte, c Common, scale float64) (*Plan, error) {
	var f file
	if err := yaml.UnmarshalWithOptions(text, &f, yaml.Strict()); err != nil {
		return nil, located(name, err)
	}
	p := c.plan("mixed")
	p.Description = f.Description
	if f.Duration != 0 {
		p.Duration = f.Duration
	}
	if f.Warmup != 0 {
		p.Warmup = f.Warmup
	}
	for i := range f.Groups {
		p.Groups = append(p.Groups, f.Groups[i].group(scale))
	}
	for i := range f.Streams {
		p.Streams = append(p.Streams, f.Streams[i].stream(p, c.Payload, scale))
	}
	if f.Cut != nil {
		p.Cut = &Cut{After: f.Cut.After}
	}
	if err := p.Check(); err != nil {
		var problem *Problem
		if errors.As(err, &problem) {
			problem.Source = source(name, text, problem.Key)
		}
		return nil, err
	}
	return p, nil
}

func (g *fileGroup) group(scale float64) Group {
	made := Group{
		Name: g.Name, Connections: scaled(g.Connections, scale), Rooms: g.Rooms.rooms(), Each: max(g.Each, 1), Last: g.Last,
		Target: -1, Stalled: g.Stalled, Arrive: g.Arrive * scale, Stay: g.Stay,
	}
	if g.Each < 0 {
		made.Each = g.Each // which Check refuses
	}
	if g.Gateway != nil {
		made.Target = *g.Gateway
	}
	if made.Arrive > 0 && made.Connections == 0 {
		made.Connections = places(made.Arrive, made.Stay)
	}
	return made
}

// places is how many clients of an arriving group there may be at a time: some
// more than are expected, for those that are slow to come.
func places(arrive float64, stay time.Duration) int {
	return int(arrive*(stay.Seconds()+1)*1.5) + 10
}

// scaled keeps at least one of what was there.
func scaled(n int, scale float64) int {
	if n <= 0 {
		return n
	}
	return max(int(float64(n)*scale+0.5), 1)
}

func (r *fileRooms) rooms() Rooms {
	made := Rooms{Prefix: r.Prefix, Count: r.Count, Skew: r.Skew}
	if made.Count == 0 {
		made.Count = 1
	}
	return made
}

func (s *fileStream) stream(p *Plan, payload int, scale float64) Stream {
	made := Stream{
		Name: s.Name, From: s.From, Publishers: s.Publishers, Rate: s.Rate * scale, Arrival: s.Arrival, Burst: s.Burst,
		Payload: s.Payload, PayloadMax: s.PayloadMax, Target: -1,
	}
	if s.From == "" && s.Publishers == 0 {
		made.Publishers = 1
	}
	if made.Arrival == "" {
		made.Arrival = Even
	}
	if made.Payload == 0 {
		made.Payload = payload
	}
	if s.Gateway != nil {
		made.Target = *s.Gateway
	}
	if s.Rooms != nil {
		made.Rooms = s.Rooms.rooms()
		return made
	}
	for _, g := range p.Groups {
		if g.Name == s.From {
			made.Rooms = g.Rooms
		}
	}
	return made
}

// located makes a Problem of what the YAML library says.
func located(name string, err error) error {
	var at yaml.Error
	if !errors.As(err, &at) {
		return &Problem{Source: name, Key: "file", What: err.Error()}
	}
	p := &Problem{Source: name, Key: "file", What: firstLine(at.GetMessage())}
	if t := at.GetToken(); t != nil && t.Position != nil {
		p.Source = fmt.Sprintf("%s:%d", name, t.Position.Line)
		p.Key = t.Value
	}
	var mismatch *yaml.TypeError
	if errors.As(err, &mismatch) {
		p.What = "want " + wanted(mismatch.DstType)
	}
	return p
}

// wanted is a type in words.
func wanted(t reflect.Type) string {
	if t == reflect.TypeFor[time.Duration]() {
		return "a duration, such as 60s or 1m30s"
	}
	switch t.Kind() {
	case reflect.Int, reflect.Pointer:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "text"
	case reflect.Slice:
		return "a list, each with a dash"
	}
	return "keys and values below it"
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// source is where a key stands, or the nearest that is there around it.
func source(name string, text []byte, key string) string {
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		return name
	}
	for key != "" {
		if line := line(parsed, key); line > 0 {
			return fmt.Sprintf("%s:%d", name, line)
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return name
}

// line is that of the value of a key; 0: it is not there.
func line(f *ast.File, key string) int {
	path, err := yaml.PathString("$." + key)
	if err != nil {
		return 0
	}
	node, err := path.FilterFile(f)
	if err != nil || node == nil || node.GetToken() == nil {
		return 0
	}
	return node.GetToken().Position.Line
}
