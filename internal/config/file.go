package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// parseYAML returns the one document of a text; nil where it is empty. The
// where of a line is the source that a problem names.
func parseYAML(text []byte, where func(line int) string) (ast.Node, *Problem) {
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		source, what := where(1), err.Error()
		var located yaml.Error
		if errors.As(err, &located) {
			what = located.GetMessage()
			if at := located.GetToken(); at != nil && at.Position != nil {
				source = where(at.Position.Line)
			}
		}
		what, _, _ = strings.Cut(what, "\n")
		return nil, &Problem{Source: source, What: "not YAML: " + what}
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, &Problem{Source: where(doc.Body.GetToken().Position.Line), What: "a second document: it takes one"}
		}
		body = doc.Body
	}
	return body, nil
}

// walker takes a tree of YAML into the fields behind options.
type walker struct {
	where    func(line int) string
	options  []option
	base     string            // stands before each key in problems and sources
	sources  map[string]string // nil: not wanted
	seen     map[string]int    // line of each key
	problems []*Problem
}

func (w *walker) report(line int, key, format string, args ...any) {
	w.problems = append(w.problems, &Problem{Source: w.where(line), Key: key, What: fmt.Sprintf(format, args...)})
}

func (w *walker) note(key string, line int) {
	if w.sources != nil {
		w.sources[key] = w.where(line)
	}
}

// mapping takes the keys below a path, "" or one that ends in a dot. Sections
// may be nested or written with dots.
func (w *walker) mapping(node ast.Node, line int, path string) {
	var entries []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	case *ast.NullNode, nil:
		return // a section whose keys are all commented out
	default:
		w.report(line, w.section(path), "cannot be %s: it takes keys and values below it, such as %s",
			describe(node), w.below(path))
		return
	}
	for _, e := range entries {
		at := e.Key.GetToken()
		if _, ok := e.Key.(*ast.StringNode); !ok {
			w.report(at.Position.Line, w.section(path), "cannot have the key %q: anchors, merges and keys that are not names are not taken", at.Value)
			continue
		}
		w.entry(path+at.Value, e.Value, at.Position.Line)
	}
}

// section is how problems name a path.
func (w *walker) section(path string) string {
	if s := strings.TrimSuffix(w.base+path, "."); s != "" {
		return s
	}
	return "the file"
}

// below is the first key under a path.
func (w *walker) below(path string) string {
	i := slices.IndexFunc(w.options, func(o option) bool { return strings.HasPrefix(o.key, path) })
	return strings.TrimPrefix(w.options[i].key, path)
}

func (w *walker) entry(key string, node ast.Node, line int) {
	inSection := func(o option) bool { return strings.HasPrefix(o.key, key+".") }
	if slices.ContainsFunc(w.options, inSection) {
		w.mapping(node, line, key+".")
		return
	}
	i := slices.IndexFunc(w.options, func(o option) bool { return o.key == key })
	if i < 0 {
		w.unknown(key, line)
		return
	}
	if before, ok := w.seen[key]; ok {
		w.report(line, w.base+key, "stands here a second time, after line %d", before)
		return
	}
	if w.seen == nil {
		w.seen = make(map[string]int)
	}
	w.seen[key] = line
	w.note(w.base+key, line)
	w.value(w.options[i], node, line)
}

func (w *walker) unknown(key string, line int) {
	if key == "config" && w.base == "" {
		w.report(line, key, "cannot be set in a file: it is the flag --config or the variable %s", configVariable)
		return
	}
	var names []string
	for _, o := range w.options {
		names = append(names, o.key)
		for i := range o.key {
			if o.key[i] == '.' {
				names = append(names, o.key[:i])
			}
		}
	}
	near := Nearest(key, names)
	hint := ""
	if near != "" {
		hint = "; did you mean " + w.base + near + "?"
	}
	w.report(line, w.base+key, "is no key%s", hint)
}

func (w *walker) value(o option, node ast.Node, line int) {
	if rooms, ok := o.value.(*roomsSetting); ok {
		rooms.setNode(w, node, line)
		return
	}
	text, ok := scalarText(o.value.kind(), node)
	if !ok {
		w.report(line, w.base+o.key, "cannot be %s: it takes %s", o.shown(describe(node)), o.value.wants())
		return
	}
	if err := o.set(text); err != nil {
		w.report(line, w.base+o.key, "%v", err)
	}
}

// scalarText returns the text of a value whose YAML type fits the kind.
func scalarText(k kind, node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.BoolNode:
		return n.GetToken().Value, k == kindBool
	case *ast.IntegerNode:
		return n.GetToken().Value, k == kindInt || k == kindSize || k == kindDuration || k == kindFloat
	case *ast.FloatNode:
		return n.GetToken().Value, k == kindFloat
	case *ast.StringNode:
		return n.Value, k != kindBool && k != kindInt && k != kindFloat
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value), k == kindText || k == kindList
	case *ast.SequenceNode:
		items := make([]string, len(n.Values))
		for i, v := range n.Values {
			item, ok := v.(*ast.StringNode)
			if !ok || strings.Contains(item.Value, ",") {
				return "", false
			}
			items[i] = item.Value
		}
		return strings.Join(items, ","), k == kindList
	}
	return "", false
}

// describe is a value in the words of a problem.
func describe(node ast.Node) string {
	switch n := node.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "this list"
	case *ast.AliasNode, *ast.AnchorNode, *ast.TagNode:
		return "an anchor, an alias or a tag (quote what begins with * & or !)"
	case *ast.StringNode:
		return fmt.Sprintf("the text %q", n.Value)
	default:
		return fmt.Sprintf("%q", n.GetToken().Value)
	}
}
