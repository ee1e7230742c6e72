package config

import (
	"fmt"
	"strings"
)

// note is what stands in comments above a key and behind its value. A key that
// is hidden is left out, but for its comments.
type note struct {
	above  []string
	behind string
	hidden bool
}

func plain(option) note { return note{} }

// explained says what a key is and why its default is what it is.
func explained(o option) note {
	what := strings.ToUpper(o.what[:1]) + o.what[1:] + "."
	if o.value.kind() == kindRooms {
		return note{above: []string{what, "Default: " + o.why + "."}}
	}
	def := o.def
	if def == "" {
		def = "none"
	}
	reason := "Default " + def + ": " + o.why + "."
	if o.live {
		reason += " Live."
	}
	return note{above: []string{what, reason}}
}

// Defaults is a YAML file with every key, its default and the reason for it. It
// configures what no file at all does.
func Defaults() string {
	return "# Every key of Fanfare's configuration, at its default. The key a.b_c is also the flag --a-b-c and\n" +
		"# the variable FANFARE_A_B_C; a flag goes before a variable, that before this file. A change of what is\n" +
		"# live, rooms included, is taken over while the gateway runs: on SIGHUP, and when the file changes.\n\n" +
		render(Default().options(), explained)
}

// YAML is the configuration as a file that, loaded, gives the same again but
// for secrets, which it does not hold. Comments say where a value was set.
func (c *Config) YAML() string {
	return render(c.options(), c.note)
}

func (c *Config) note(o option) note {
	source, set := c.sources[o.key]
	switch {
	case o.secret && o.value.text() != "":
		return note{above: []string{o.key + " is set by " + source + " and not shown"}, hidden: true}
	case set:
		return note{behind: source}
	}
	return note{}
}

// render writes options as YAML. Options of one section stand together.
func render(options []option, annotate func(option) note) string {
	var b strings.Builder
	open := ""
	for i, o := range options {
		section, name := "", o.key
		if dot := strings.LastIndexByte(o.key, '.'); dot >= 0 {
			section, name = o.key[:dot], o.key[dot+1:]
		}
		n := annotate(o)
		if i > 0 && (len(n.above) > 0 || section != open) {
			b.WriteByte('\n')
		}
		indent := ""
		if section != "" {
			indent = "  "
			if section != open {
				b.WriteString(section + ":\n")
			}
		}
		open = section
		for _, paragraph := range n.above {
			for _, line := range wrap(paragraph, 100) {
				b.WriteString(indent + "# " + line + "\n")
			}
		}
		if !n.hidden {
			b.WriteString(indent + name + ":" + renderValue(o, n) + "\n")
		}
	}
	return b.String()
}

func renderValue(o option, n note) string {
	comment := ""
	if n.behind != "" {
		comment = " # " + n.behind
	}
	rooms, ok := o.value.(*roomsSetting)
	if !ok || len(*rooms.field) == 0 {
		return " " + o.value.yaml() + comment
	}
	if len(n.above) == 0 {
		return comment + rooms.yaml()
	}
	blocks := ""
	for i := range *rooms.field {
		blocks += "\n" + strings.TrimRight(renderClass(&(*rooms.field)[i], explained), "\n")
	}
	return blocks
}

// renderClass writes one class as an item of a list.
func renderClass(r *RoomClass, annotate func(option) note) string {
	options := r.options()
	body := render(options[1:], annotate)
	lines := []string{"  - match: " + options[0].value.yaml()}
	for line := range strings.Lines(body) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			lines = append(lines, "    "+line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// wrap breaks a text between words into lines of at most width bytes.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimSpace(fmt.Sprint(line, " ", word))
	}
	return append(lines, line)
}
