package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// isTerminal tells whether somebody looks: only a terminal has a size.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// color says whether to write in colours: --color.
type color struct{ when string }

var colorWhens = []string{"auto", "always", "never"}

func (c *color) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.when, "color", "auto", "colours: auto (on a terminal, unless NO_COLOR is set or TERM is dumb),\nalways or never")
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions(colorWhens, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

// on decides for a file, by what https://no-color.org asks for.
func (c *color) on(f *os.File) (bool, error) {
	switch c.when {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(f), nil
	}
	return false, fmt.Errorf("--color: want auto, always or never, not %q", c.when)
}

// paint is what a text is written in: the parameters of SGR (ECMA-48).
type paint string

const (
	plain   paint = ""
	dim     paint = "2"
	bold    paint = "1"
	magenta paint = "35"
)

// hues tell rooms apart. Red and yellow are for what is wrong.
var hues = []paint{"36", "32", "34", "35", "96", "92", "94", "95"}

// hueOf is the same for the same name everywhere.
func hueOf(name string) paint {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // it has no errors
	return hues[h.Sum32()%uint32(len(hues))]
}

// in paints a text if colours are on.
func (p paint) in(on bool, text string) string {
	if !on || p == plain {
		return text
	}
	return "\x1b[" + string(p) + "m" + text + "\x1b[0m"
}

// harmless makes visible what would move a terminal's cursor, or worse: anyone who
// may publish decides what is in a message. Tabs stay.
func harmless(text string) string {
	if !strings.ContainsFunc(text, harmful) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, "\\x%02x", text[i])
		case harmful(r) && r < 0x80:
			fmt.Fprintf(&b, "\\x%02x", r)
		case harmful(r):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// harmful are controls, the other ones of Unicode that turn the direction of text
// included.
func harmful(r rune) bool {
	return r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

// harmlessJSON is the same JSON, in which what is harmful is escaped: JSON itself
// asks for that of nothing past U+001F.
func harmlessJSON(text []byte) []byte {
	var out []byte
	for _, r := range string(text) {
		if r > 0x1f && harmful(r) {
			out = fmt.Appendf(out, "\\u%04x", r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

// urlVariable is where the gateway's URL may stand in the environment.
const urlVariable = "FANFARE_URL"

// fromEnvironment takes a flag's value from a variable where it was not given.
func fromEnvironment(flags *pflag.FlagSet, flag, variable string) error {
	value := os.Getenv(variable)
	if value == "" || flags.Changed(flag) {
		return nil
	}
	if err := flags.Set(flag, value); err != nil {
		return usageError(errors.New(variable + ": " + err.Error()))
	}
	return nil
}
