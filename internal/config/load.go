package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

const (
	prefix         = "FANFARE_"
	configFlag     = "config"
	configVariable = prefix + "CONFIG"
	tokenVariable  = prefix + "TOKEN" // of the commands that are clients; nothing to a gateway
)

// Flags adds a flag for each of the keys, or for all of them, and --config.
func Flags(fs *pflag.FlagSet, keys ...string) {
	fs.VarPF(&flagValue{of: kindText}, configFlag, "", "YAML file to read; "+configVariable+" does the same")
	for _, o := range new(Config).options() {
		if len(keys) > 0 && !slices.Contains(keys, o.key) {
			continue
		}
		def := o.def
		if o.value.kind() == kindRooms {
			def = ""
		}
		what := strings.ReplaceAll(o.what, "`", "") // pflag takes what stands between for the name of the value
		f := fs.VarPF(&flagValue{of: o.value.kind(), def: def}, o.flag(), "", what)
		if o.value.kind() == kindBool {
			f.NoOptDefVal = "true"
		}
	}
}

// flagValue keeps what the command line says, for Load to judge beside the
// other sources.
type flagValue struct {
	of  kind
	def string
	raw []string
}

func (v *flagValue) String() string     { return v.def }
func (v *flagValue) Type() string       { return string(v.of) }
func (v *flagValue) Set(s string) error { v.raw = append(v.raw, s); return nil }

// text is the value of a flag that was set: all of a list, else the last.
func (v *flagValue) text() string {
	if v.of == kindList {
		return strings.Join(v.raw, ",")
	}
	return v.raw[len(v.raw)-1]
}

// Load reads the configuration from flags that Flags added and that are parsed,
// from an environment as os.Environ gives it, and from the file that these
// name. Whatever is wrong is an Error.
func Load(fs *pflag.FlagSet, environ []string) (*Config, error) {
	c := Default()
	c.sources = make(map[string]string)
	l := loader{config: c, options: c.options(), variables: variables(environ)}
	l.file(fs)
	l.environment()
	l.flags(fs)
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	return c, c.Validate()
}

// variables returns what an environment says of Fanfare.
func variables(environ []string) map[string]string {
	found := make(map[string]string)
	for _, line := range environ {
		if name, value, ok := strings.Cut(line, "="); ok && strings.HasPrefix(name, prefix) {
			found[name] = value
		}
	}
	return found
}

type loader struct {
	config    *Config
	options   []option
	variables map[string]string
	problems  Error
}

// set takes the value of one key. Lists and classes are replaced, not added to.
func (l *loader) set(o option, source, text string) {
	maps.DeleteFunc(l.config.sources, func(key, _ string) bool {
		return strings.HasPrefix(key, o.key+"[") // the classes that are replaced
	})
	l.config.sources[o.key] = source
	if err := o.set(text); err != nil {
		l.problems = append(l.problems, &Problem{Source: source, Key: o.key, What: err.Error()})
	}
}

func (l *loader) file(fs *pflag.FlagSet) {
	source, name := configVariable, l.variables[configVariable]
	if v := changed(fs, configFlag); v != nil {
		source, name = "--"+configFlag, v.text()
	}
	if name == "" {
		return
	}
	l.config.File = name
	text, err := os.ReadFile(name)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		l.problems = append(l.problems, &Problem{Source: source, Key: configFlag,
			What: fmt.Sprintf("cannot be %q: %v; it takes a file to read", name, err)})
		return
	}
	where := func(line int) string { return fmt.Sprintf("%s:%d", oneLine(name), line) }
	body, problem := parseYAML(bytes.TrimPrefix(text, []byte("\ufeff")), where)
	if problem != nil {
		l.problems = append(l.problems, problem)
		return
	}
	w := walker{where: where, options: l.options, sources: l.config.sources}
	w.mapping(body, 1, "")
	l.problems = append(l.problems, w.problems...)
}

func (l *loader) environment() {
	known := map[string]bool{configVariable: true, tokenVariable: true}
	names := []string{configVariable}
	for _, o := range l.options {
		name := o.variable()
		known[name] = true
		names = append(names, name)
		if text := l.variables[name]; text != "" {
			l.set(o, name, text)
		}
	}
	var unknown []string
	for name, value := range l.variables {
		if !known[name] && !serviceLink(name, value) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		l.problems = append(l.problems, &Problem{Source: name, What: "no such variable" + meant(name, names)})
	}
}

var (
	serviceName = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	servicePort = regexp.MustCompile(`_PORT$`)
)

// serviceLink tells the variables that Kubernetes gives to every container of a
// namespace with a service called fanfare or fanfare-something.
func serviceLink(name, value string) bool {
	address, _, isURL := strings.Cut(value, "://")
	return serviceName.MatchString(name) ||
		servicePort.MatchString(name) && isURL && slices.Contains([]string{"tcp", "udp", "sctp"}, address)
}

func (l *loader) flags(fs *pflag.FlagSet) {
	for _, o := range l.options {
		if v := changed(fs, o.flag()); v != nil {
			l.set(o, "--"+o.flag(), v.text())
		}
	}
}

// changed returns the value of a flag that is there and was set, or nil.
func changed(fs *pflag.FlagSet, name string) *flagValue {
	f := fs.Lookup(name)
	if f == nil || !f.Changed {
		return nil
	}
	v, _ := f.Value.(*flagValue)
	return v
}
