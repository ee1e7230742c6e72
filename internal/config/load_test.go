package config

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// load reads a configuration from a file's text ("" for none), flags and an
// environment. In problems the file is called f.yaml.
func load(t *testing.T, file string, environ []string, args ...string) (*Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if file != "" {
		if err := os.WriteFile("f.yaml", []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		environ = append([]string{"FANFARE_CONFIG=f.yaml"}, environ...)
	}
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(fs, environ)
}

func mustLoad(t *testing.T, file string, environ []string, args ...string) *Config {
	t.Helper()
	c, err := load(t, file, environ, args...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFlagGoesBeforeEnvironmentBeforeFileBeforeDefault(t *testing.T) {
	const file = "heartbeat:\n  interval: 1s\n"
	env := []string{"FANFARE_HEARTBEAT_INTERVAL=2s"}
	for _, tt := range []struct {
		name string
		file string
		env  []string
		args []string
		want time.Duration
	}{
		{"default", "", nil, nil, 25 * time.Second},
		{"file", file, nil, nil, time.Second},
		{"environment", file, env, nil, 2 * time.Second},
		{"flag", file, env, []string{"--heartbeat-interval", "3s"}, 3 * time.Second},
		{"an empty variable is not set", file, []string{"FANFARE_HEARTBEAT_INTERVAL="}, nil, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustLoad(t, tt.file, tt.env, tt.args...).Heartbeat.Interval; got != tt.want {
				t.Errorf("interval = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestConfigFlagGoesBeforeItsVariable(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other.yaml")
	if err := os.WriteFile(other, []byte("loops: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, "loops: 3\n", nil, "--config", other)
	if c.Loops != 7 || c.File != other {
		t.Errorf("loops = %d from %s, want 7 from %s", c.Loops, c.File, other)
	}
}

func TestValuesOfEachType(t *testing.T) {
	c := mustLoad(t, `
listen: "[::1]:0"
echo: true
loops: 4
log:
  level: warn
limits:
  message_bytes: 32KiB
  reply_bytes: 2097152
drain.period: 0
origins:
  - HTTPS://Example.com:443
  - "*"
`, []string{"FANFARE_COMPRESSION_ENABLED=0"}, "--admin-pprof", "--log-format=json")
	want := Default()
	want.File, want.sources = "f.yaml", c.sources
	want.Listen, want.Echo, want.Loops = "[::1]:0", true, 4
	want.Log = Log{Level: slog.LevelWarn, Format: "json"}
	want.Limits.MessageBytes, want.Limits.ReplyBytes = 32<<10, 2<<20
	want.Drain.Period = 0
	want.Origins = []string{"https://example.com", "*"}
	want.Compression.Enabled, want.Admin.Pprof = false, true
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestListsRepeatTheFlagOrHaveCommas(t *testing.T) {
	want := []string{"http://a", "http://b", "http://c:81"}
	for name, c := range map[string]*Config{
		"flags":    mustLoad(t, "", nil, "--origins", "http://a,http://b", "--origins", "http://c:81"),
		"variable": mustLoad(t, "", []string{"FANFARE_ORIGINS=http://a, http://b,http://c:81"}),
		"file":     mustLoad(t, "origins: [http://a, http://b, 'http://c:81']", nil),
		"text":     mustLoad(t, "origins: http://a,http://b,http://c:81", nil),
		"override": mustLoad(t, "origins: [http://z]", []string{"FANFARE_ORIGINS=http://y"}, "--origins", "http://a,http://b,http://c:81"),
	} {
		if !reflect.DeepEqual(c.Origins, want) {
			t.Errorf("%s: origins = %q", name, c.Origins)
		}
	}
	if c := mustLoad(t, "origins: [http://z]", nil, "--origins="); len(c.Origins) != 0 {
		t.Errorf("an empty flag left %q", c.Origins)
	}
}

func TestRoomClassesTakeWhatTheyLeaveOutFromTheDefault(t *testing.T) {
	const file = `
rooms:
  - match: "news:*"
    history: {messages: 0, age: 1h}
  - match: live
    slow:
      policy: conflate
      window_messages: 1
`
	news, live := defaultClass(), defaultClass()
	news.Match, news.History.Messages, news.History.Age = "news:*", 0, time.Hour
	live.Match, live.Slow.Policy, live.Slow.WindowMessages = "live", "conflate", 1
	want := []RoomClass{news, live, {
		Match:    "*",
		Access:   Access{Join: "anyone", Publish: "anyone", History: "anyone", Members: "anyone"},
		History:  History{Messages: 256, Bytes: 1 << 20, Age: 10 * time.Minute},
		Presence: true,
		Slow:     Slow{Policy: "drop", WindowMessages: 256, WindowBytes: 1 << 20},
	}}
	const asJSON = `[{"match":"news:*","history":{"messages":0,"age":"1h"}},{"match":"live","slow":{"policy":"conflate","window_messages":1}}]`
	for name, c := range map[string]*Config{
		"file":     mustLoad(t, file, nil),
		"variable": mustLoad(t, "", []string{"FANFARE_ROOMS=" + asJSON}),
		"flag":     mustLoad(t, "rooms: [{match: x}]", nil, "--rooms", asJSON),
	} {
		if !reflect.DeepEqual(c.Rooms, want) {
			t.Errorf("%s: rooms = %+v, want %+v", name, c.Rooms, want)
		}
	}
}

func TestAClassForEveryRoomIsTheLast(t *testing.T) {
	c := mustLoad(t, `rooms: [{match: "**", history: {messages: 5}}]`, nil)
	if len(c.Rooms) != 1 || c.Rooms[0].History.Messages != 5 {
		t.Errorf("rooms = %+v", c.Rooms)
	}
}

// Each problem is one line that names its source, its key, the value and what
// would be right.
func TestProblems(t *testing.T) {
	const wantsLoops = "it takes a whole number from 0 to 1024"
	for _, tt := range []struct {
		name string
		file string
		env  []string
		args []string
		want []string
	}{
		{name: "flag of the wrong type", args: []string{"--loops", "x"},
			want: []string{`--loops: loops cannot be "x": ` + wantsLoops}},
		{name: "flag out of range", args: []string{"--loops=-1"},
			want: []string{`--loops: loops cannot be "-1": ` + wantsLoops}},
		{name: "variable", env: []string{"FANFARE_HEARTBEAT_INTERVAL=25"},
			want: []string{`FANFARE_HEARTBEAT_INTERVAL: heartbeat.interval cannot be "25": it takes a duration of at least 100ms, such as 500ms, 25s or 1h30m`}},
		{name: "a wrong variable under a right flag", env: []string{"FANFARE_LOOPS=x"}, args: []string{"--loops=1"},
			want: []string{`FANFARE_LOOPS: loops cannot be "x": ` + wantsLoops}},
		{name: "file, with the line", file: "# a\nlisten: \":1\"\nlimits:\n  message_bytes: 64KB\n",
			want: []string{`f.yaml:4: limits.message_bytes cannot be "64KB": it takes a size from 0 to 1024TiB, such as 65536, 64KiB, 1MiB or 2GiB`}},
		{name: "text where a number stands", file: "loops: \"4\"\n",
			want: []string{`f.yaml:1: loops cannot be the text "4": ` + wantsLoops}},
		{name: "a word where a bool stands", file: "echo: yes\n",
			want: []string{`f.yaml:1: echo cannot be the text "yes": it takes true or false`}},
		{name: "nothing where a value stands", file: "echo:\n",
			want: []string{`f.yaml:1: echo cannot be empty: it takes true or false`}},
		{name: "a mapping where a value stands", file: "listen: {a: b}\n",
			want: []string{`f.yaml:1: listen cannot be a mapping: it takes host:port or :port, with a port from 0 to 65535, such as :8080, 127.0.0.1:8080 or [::1]:8080`}},
		{name: "a value where a section stands", file: "heartbeat: 5s\n",
			want: []string{`f.yaml:1: heartbeat cannot be the text "5s": it takes keys and values below it, such as interval`}},
		{name: "a list for a file", file: "- a\n",
			want: []string{`f.yaml:1: the file cannot be this list: it takes keys and values below it, such as listen`}},
		{name: "unknown keys", file: "heartbeat:\n  intervall: 5s\nheartbeats: 1\nmessage_bytes: 5\nquux: 1\nconfig: x\n",
			want: []string{
				`f.yaml:2: heartbeat.intervall is no key; did you mean heartbeat.interval?`,
				`f.yaml:3: heartbeats is no key; did you mean heartbeat?`,
				`f.yaml:4: message_bytes is no key; did you mean limits.message_bytes?`,
				`f.yaml:5: quux is no key`,
				`f.yaml:6: config cannot be set in a file: it is the flag --config or the variable FANFARE_CONFIG`,
			}},
		{name: "a key twice", file: "loops: 1\nloops: 2\n",
			want: []string{`f.yaml:2: loops stands here a second time, after line 1`}},
		{name: "a key twice, nested and dotted", file: "log:\n  level: info\nlog.level: debug\n",
			want: []string{`f.yaml:3: log.level stands here a second time, after line 2`}},
		{name: "unknown variables", env: []string{"FANFARE_LISTN=:1", "FANFARE_BOGUS_THING=1"},
			want: []string{`FANFARE_BOGUS_THING: no such variable`, `FANFARE_LISTN: no such variable; did you mean FANFARE_LISTEN?`}},
		{name: "a port that is no service link", env: []string{"FANFARE_PORT=8080"},
			want: []string{`FANFARE_PORT: no such variable`}},
		{name: "no such file", args: []string{"--config", "nowhere.yaml"},
			want: []string{`--config: config cannot be "nowhere.yaml": no such file or directory; it takes a file to read`}},
		{name: "several documents", file: "loops: 1\n---\nloops: 2\n",
			want: []string{`f.yaml:3: a second document: it takes one`}},
		{name: "a choice", args: []string{"--log-level=trace"},
			want: []string{`--log-level: log.level cannot be "trace": it takes debug, info, warn or error`}},
		{name: "an address", args: []string{"--listen=8080"},
			want: []string{`--listen: listen cannot be "8080": it takes host:port or :port, with a port from 0 to 65535, such as :8080, 127.0.0.1:8080 or [::1]:8080`}},
		{name: "a newline in a value", args: []string{"--log-format=a\nb"},
			want: []string{`--log-format: log.format cannot be "a\nb": it takes text or json`}},
		{name: "a class", file: "rooms:\n  - match: a b\n    histori: 1\n    slow:\n      policy: drip\n  - history:\n      messages: 1\n",
			want: []string{
				`f.yaml:2: rooms[0].match cannot be "a b": it takes 1 to 128 characters of A-Z a-z 0-9 _ - . : @ / and * for any run of characters`,
				`f.yaml:3: rooms[0].histori is no key; did you mean rooms[0].history?`,
				`f.yaml:5: rooms[0].slow.policy cannot be "drip": it takes drop or conflate or disconnect`,
				`f.yaml:6: rooms[1].match is missing: it takes the name of a room, with * for any run of characters`,
			}},
		{name: "a pattern that YAML takes for an alias", file: "rooms:\n  - match: *all\n",
			want: []string{`f.yaml:2: rooms[0].match cannot be an anchor, an alias or a tag (quote what begins with * & or !): it takes 1 to 128 characters of A-Z a-z 0-9 _ - . : @ / and * for any run of characters`}},
		{name: "classes in a flag", args: []string{"--rooms", `[{"match":"a","slow":{"window_messages":-1}}]`},
			want: []string{`--rooms: rooms cannot be "[{\"match\":\"a\",\"slow\":{\"window_messages\":-1}}]": rooms[0].slow.window_messages cannot be "-1": it takes a whole number from 0 to 2147483647`}},
	} {
		t.Run(tt.name, func(t *testing.T) { wantProblems(t, tt.file, tt.env, tt.args, tt.want) })
	}
}

func wantProblems(t *testing.T, file string, env, args, want []string) {
	t.Helper()
	c, err := load(t, file, env, args...)
	var problems Error
	if !errors.As(err, &problems) {
		t.Fatalf("error = %v, want an Error; config %+v", err, c)
	}
	if got := err.Error(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestBrokenYAMLNamesItsLine(t *testing.T) {
	for file, line := range map[string]string{
		"loops: 1\nlisten: \"x\nlog: {": "f.yaml:",
		"loops: 1\nlog: {level: info\n": "f.yaml:2: not YAML: ",
		"loops: 1\n\tlog: 1\n":          "f.yaml:2: not YAML: ",
	} {
		_, err := load(t, file, nil)
		if err == nil || !strings.HasPrefix(err.Error(), line) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want one line that begins with %q", file, err, line)
		}
	}
}

func TestVariablesOfKubernetesServicesAreNotOurs(t *testing.T) {
	mustLoad(t, "", []string{
		"FANFARE_SERVICE_HOST=10.0.0.1", "FANFARE_SERVICE_PORT=8080", "FANFARE_SERVICE_PORT_HTTP=8080",
		"FANFARE_PORT=tcp://10.0.0.1:8080", "FANFARE_PORT_8080_TCP=tcp://10.0.0.1:8080",
		"FANFARE_PORT_8080_TCP_PROTO=tcp", "FANFARE_PORT_8080_TCP_PORT=8080", "FANFARE_PORT_8080_TCP_ADDR=10.0.0.1",
		"FANFARE_ADMIN_SERVICE_HOST=10.0.0.2", "FANFARE_ADMIN_PORT=tcp://10.0.0.2:9090", "OTHER_THING=1",
	})
}

func TestFlagsOfSomeKeys(t *testing.T) {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Flags(fs, "admin.listen")
	names := ""
	fs.VisitAll(func(f *pflag.Flag) { names += f.Name + " " })
	if names != "admin-listen config " {
		t.Errorf("flags: %s", names)
	}
	if err := fs.Parse([]string{"--admin-listen", ":1"}); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(fs, []string{"FANFARE_LOOPS=2"}); err != nil || c.Admin.Listen != ":1" || c.Loops != 2 {
		t.Errorf("%+v, %v", c, err)
	}
}

// The help of a flag names what kind of value it takes, and no word of its text.
func TestAFlagsHelpNamesTheKindOfItsValue(t *testing.T) {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Flags(fs)
	fs.VisitAll(func(f *pflag.Flag) {
		want := f.Value.Type()
		if want == string(kindBool) {
			want = ""
		}
		if name, _ := pflag.UnquoteUsage(f); name != want {
			t.Errorf("--%s takes %q, want %q", f.Name, name, want)
		}
	})
}
