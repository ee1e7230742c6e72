package config

import (
	"reflect"
	"strings"
	"testing"
)

// unsourced is a copy that tells nothing of where it came from.
func unsourced(c *Config) *Config {
	copied := *c
	copied.File, copied.sources = "", nil
	return &copied
}

func TestDefaultsAreAFileThatChangesNothing(t *testing.T) {
	text := Defaults()
	if c := mustLoad(t, text, nil); !reflect.DeepEqual(unsourced(c), Default()) {
		t.Errorf("loaded: %+v\nwant:   %+v", c, Default())
	}
	if got := len(mustLoad(t, text, nil).sources); got < len(Default().options()) {
		t.Errorf("the file sets %d keys of %d", got, len(Default().options()))
	}
	for _, o := range append(Default().options(), new(RoomClass).options()[1:]...) {
		if !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(text, "#", "")), " "), o.why+".") {
			t.Errorf("no reason for the default of %s", o.key)
		}
	}
}

func TestWhatIsShownLoadsAsTheSame(t *testing.T) {
	c := mustLoad(t, `
listen: "[::1]:1"
origins: ["https://a", "*"]
rooms:
  - match: "a:*"
    slow: {policy: disconnect, window_bytes: 3MiB}
  - {match: b, history: {age: 90s}}
`, []string{"FANFARE_LOOPS=3"}, "--limits-message-bytes=1000", "--echo", "--log-level=debug", "--drain-period=0")
	text := c.YAML()
	for _, line := range []string{
		`listen: "[::1]:1" # f.yaml:2`, `loops: 3 # FANFARE_LOOPS`, `  message_bytes: 1000 # --limits-message-bytes`, `echo: true # --echo`,
		`  connections: 100000`, `rooms: # f.yaml:4`, `  - match: "a:*"`, `      window_bytes: 3MiB`, `  - match: "*"`,
	} {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	if again := mustLoad(t, text, nil); !reflect.DeepEqual(unsourced(again), unsourced(c)) {
		t.Errorf("loaded: %+v\nwant:   %+v", again, c)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	var c Config
	o := option{key: "auth.secret", value: address(&c.Listen), secret: true, what: "x", why: "x"}
	err := o.set("hunter2")
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "it takes host:port") {
		t.Errorf("error: %v", err)
	}
	if got := o.shown("hunter2"); strings.Contains(got, "hunter2") {
		t.Errorf("shown: %s", got)
	}
	if err := o.set("hunter2:1"); err != nil {
		t.Fatal(err)
	}
	c.sources = map[string]string{"auth.secret": "--auth-secret"}
	got := render([]option{o}, c.note)
	if strings.Contains(got, "hunter2") || !strings.Contains(got, "# auth.secret is set by --auth-secret and not shown") {
		t.Errorf("rendered:\n%s", got)
	}
}

func TestEachKeyHasItsOwnNames(t *testing.T) {
	flags, variables := map[string]string{}, map[string]string{configVariable: configFlag}
	for _, o := range Default().options() {
		if other, ok := flags[o.flag()]; ok {
			t.Errorf("%s and %s are both --%s", o.key, other, o.flag())
		}
		if other, ok := variables[o.variable()]; ok {
			t.Errorf("%s and %s are both %s", o.key, other, o.variable())
		}
		flags[o.flag()], variables[o.variable()] = o.key, o.key
		if o.what == "" || o.why == "" {
			t.Errorf("%s is not explained", o.key)
		}
	}
	if flags["limits-message-bytes"] != "limits.message_bytes" || variables["FANFARE_LIMITS_MESSAGE_BYTES"] != "limits.message_bytes" {
		t.Error("limits.message_bytes is not --limits-message-bytes and FANFARE_LIMITS_MESSAGE_BYTES")
	}
}
