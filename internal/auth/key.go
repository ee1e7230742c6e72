package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Allow is what an API key is for, a set.
type Allow uint8

const (
	AllowPublish Allow = 1 << iota // publish to any room
	AllowRead                      // history, members and the lists of rooms
	AllowAdmin                     // forget, disconnect, revoke, and see the fleet
)

var allowNames = []string{"publish", "read", "admin"} // of the bits, the lowest first

// Has tells whether all of b are in the set.
func (a Allow) Has(b Allow) bool { return a&b == b }

// Key is a backend's API key. The key itself is not kept, only its digest.
type Key struct {
	Name   string
	Allow  Allow
	digest [sha256.Size]byte
	short  bool
}

// may is what a key decides about a room: reading is joining too.
func (k *Key) may(v Verb) bool {
	if v == Publish {
		return k.Allow.Has(AllowPublish)
	}
	return k.Allow.Has(AllowRead)
}

// fairKey is how many characters a key should have: as many that nobody can guess
// are 80 bits or more.
const fairKey = 16

// Keys are the API keys of a file. A nil *Keys has none.
type Keys struct {
	keys []Key
}

// Check returns the key that a bearer token is, or nil. It takes the same time
// for each, whichever it is: all are compared, and digests in place of keys, so
// that not even a length shows.
func (ks *Keys) Check(bearer string) *Key {
	if ks == nil {
		return nil
	}
	digest := sha256.Sum256([]byte(bearer))
	found := -1
	for i := range ks.keys {
		equal := subtle.ConstantTimeCompare(ks.keys[i].digest[:], digest[:])
		found = subtle.ConstantTimeSelect(equal, i, found)
	}
	if found < 0 {
		return nil
	}
	return &ks.keys[found]
}

// Short are the names of the keys that are shorter than they should be, in the
// order of the file. They count: how much a key has to withstand is its owner's
// to know.
func (ks *Keys) Short() (names []string) {
	if ks == nil {
		return nil
	}
	for i := range ks.keys {
		if ks.keys[i].short {
			names = append(names, ks.keys[i].Name)
		}
	}
	return names
}

// LoadKeys reads API keys from YAML, a list of {name, key, allow}. A name may have
// several keys, so that one can be changed for another. Errors have the file's line
// and never a key.
func LoadKeys(file string) (*Keys, error) {
	text, err := readKeyFile(file)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", file, err)
	}
	return keys, nil
}

// lineError is an error of a line of a file; it stands behind the file's name.
func lineError(node ast.Node, format string, args ...any) error {
	return fmt.Errorf("%d: %s", node.GetToken().Position.Line, fmt.Sprintf(format, args...))
}

const keysShape = "want a list of {name: NAME, key: KEY, allow: [publish, read, admin]}"

// parseKeys walks the tree by itself: the decoder's errors quote the lines.
func parseKeys(text []byte) (*Keys, error) {
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		line := 1
		var located yaml.Error
		if errors.As(err, &located) && located.GetToken() != nil && located.GetToken().Position != nil {
			line = located.GetToken().Position.Line
		}
		return nil, fmt.Errorf("%d: not YAML", line)
	}
	var list *ast.SequenceNode
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		sequence, ok := doc.Body.(*ast.SequenceNode)
		if !ok || list != nil {
			return nil, lineError(doc.Body, keysShape)
		}
		list = sequence
	}
	if list == nil || len(list.Values) == 0 {
		return nil, errors.New("1: no keys; " + keysShape)
	}
	ks := &Keys{keys: make([]Key, 0, len(list.Values))}
	for _, item := range list.Values {
		k, err := parseKey(item)
		if err != nil {
			return nil, err
		}
		for i := range ks.keys {
			if ks.keys[i].digest == k.digest {
				return nil, lineError(item, "%q has the same key as %q", k.Name, ks.keys[i].Name)
			}
		}
		ks.keys = append(ks.keys, k)
	}
	return ks, nil
}

func parseKey(item ast.Node) (Key, error) {
	var entries []*ast.MappingValueNode
	switch n := item.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		return Key{}, lineError(item, keysShape)
	}
	var k Key
	var seen []string
	for _, e := range entries {
		field := e.Key.GetToken().Value
		if slices.Contains(seen, field) {
			return Key{}, lineError(e.Key, "%s stands twice", field)
		}
		var err error
		switch field {
		case "name":
			k.Name, err = parseKeyName(e.Value)
		case "key":
			err = k.parseSecret(e.Value)
		case "allow":
			k.Allow, err = parseAllow(e.Value)
		default:
			// It may be a key that slipped out of its place.
			err = lineError(e.Key, "a field that is none of name, key and allow")
		}
		if err != nil {
			return Key{}, err
		}
		seen = append(seen, field)
	}
	for _, field := range []string{"name", "key", "allow"} {
		if !slices.Contains(seen, field) {
			return Key{}, lineError(item, "%s is missing; %s", field, keysShape)
		}
	}
	return k, nil
}

// parseKeyName reads a name that can be a user's: messages that a backend
// publishes are from it.
func parseKeyName(node ast.Node) (string, error) {
	if s, ok := node.(*ast.StringNode); ok {
		if name, ok := protocol.NormalizeUser(s.Value); ok {
			return name, nil
		}
	}
	return "", lineError(node, "name: want 1 to %d letters, digits and _ - . @, as for a user", protocol.MaxUser)
}

func (k *Key) parseSecret(node ast.Node) error {
	s, ok := node.(*ast.StringNode)
	if !ok {
		return lineError(node, "key: want a text (in quotes, where it looks like a number)")
	}
	if s.Value == "" || strings.ContainsFunc(s.Value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return lineError(node, "key: want characters of ASCII without spaces, which a header can carry, such as of: openssl rand -base64 32")
	}
	k.digest, k.short = sha256.Sum256([]byte(s.Value)), len(s.Value) < fairKey
	return nil
}

func parseAllow(node ast.Node) (Allow, error) {
	list, ok := node.(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		return 0, lineError(node, "allow: want a list of %s", strings.Join(allowNames, ", "))
	}
	var set Allow
	for _, v := range list.Values {
		s, ok := v.(*ast.StringNode)
		i := -1
		if ok {
			i = slices.Index(allowNames, s.Value)
		}
		if i < 0 {
			return 0, lineError(v, "allow: want a list of %s", strings.Join(allowNames, ", "))
		}
		set |= 1 << i
	}
	return set, nil
}
