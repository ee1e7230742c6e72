package auth

import (
	"slices"
	"strings"
	"testing"
)

const (
	keyA = "aaaaaaaaaaaaaaaa"
	keyB = "bbbbbbbbbbbbbbbb-longer"
)

func loadKeysOf(t *testing.T, text string) (*Keys, error) {
	t.Helper()
	return LoadKeys(write(t, "keys.yaml", text))
}

func TestKeysAreFoundByTheirBearer(t *testing.T) {
	ks, err := loadKeysOf(t, `
# those of the backends
- {name: shop, key: `+keyA+`, allow: [publish]}
- name: ops
  key: "`+keyB+`"
  allow:
    - read
    - admin
`)
	if err != nil {
		t.Fatal(err)
	}
	if k := ks.Check(keyA); k == nil || k.Name != "shop" || k.Allow != AllowPublish {
		t.Errorf("%+v", k)
	}
	if k := ks.Check(keyB); k == nil || k.Name != "ops" || k.Allow != AllowRead|AllowAdmin || k.Allow.Has(AllowPublish) {
		t.Errorf("%+v", k)
	}
	for _, bearer := range []string{"", keyA[1:], keyA + "a", strings.ToUpper(keyA), " " + keyA, keyA + keyB, "shop"} {
		if k := ks.Check(bearer); k != nil {
			t.Errorf("%q is %s", bearer, k.Name)
		}
	}
	if k := (*Keys)(nil).Check(keyA); k != nil || (*Keys)(nil).Short() != nil {
		t.Errorf("no keys have %+v", k)
	}
}

// While a backend changes its key, both are its own.
func TestANameMayHaveSeveralKeys(t *testing.T) {
	ks, err := loadKeysOf(t, "- {name: shop, key: "+keyA+", allow: [publish]}\n- {name: shop, key: "+keyB+", allow: [publish, read]}")
	if err != nil {
		t.Fatal(err)
	}
	if k := ks.Check(keyA); k == nil || k.Name != "shop" || k.Allow != AllowPublish {
		t.Errorf("the first is %+v", k)
	}
	if k := ks.Check(keyB); k == nil || k.Name != "shop" || k.Allow != AllowPublish|AllowRead {
		t.Errorf("the second is %+v", k)
	}
}

func TestAShortKeyCountsAndIsNamed(t *testing.T) {
	ks, err := loadKeysOf(t, "- {name: shop, key: "+keyA[1:]+", allow: [publish]}\n- {name: ops, key: "+keyA+", allow: [read]}")
	if err != nil {
		t.Fatal(err)
	}
	if k := ks.Check(keyA[1:]); k == nil || k.Name != "shop" {
		t.Errorf("it is %+v", k)
	}
	if got := ks.Short(); !slices.Equal(got, []string{"shop"}) {
		t.Errorf("%v are short", got)
	}
}

func TestKeyFilesThatCannotBe(t *testing.T) {
	const good = "- {name: a, key: " + keyA + ", allow: [read]}\n"
	for text, want := range map[string]string{
		"":                    "1: no keys; want a list",
		"[]":                  "1: no keys; want a list",
		"# nothing\n":         "1: no keys; want a list",
		"a: b":                "1: want a list",
		keyA:                  "1: want a list",
		good + "---\n" + good: "3: want a list",
		"- [" + keyA:          "1: not YAML",
		"- " + keyA:           "1: want a list",
		good + "\n- {name: b, key: " + keyB + "}":                                     "3: allow is missing",
		good + "- {key: " + keyB + ", allow: [read]}":                                 "2: name is missing",
		good + "- {name: b, allow: [read]}":                                           "2: key is missing",
		good + "- name: b\n  key: " + keyB + "\n  allow: [read]\n  alow: []":          "5: a field that is none of name, key and allow",
		good + "- {name: b, key: " + keyB + ", allow: [read], " + keyA + ": x}":       "2: a field that is none of",
		good + "- {name: b, key: " + keyB + ", allow: [read], name: c}":               "2: name stands twice",
		good + "- {name: b, key: " + keyA + ", allow: [read]}":                        `2: "b" has the same key as "a"`,
		"- {name: a, key: \"\", allow: [read]}":                                       "1: key: want characters of ASCII",
		"- {name: a, key: 1234567890123456789, allow: [read]}":                        "1: key: want a text",
		"- {name: a, key: \"" + keyA + " " + keyA + "\", allow: [read]}":              "1: key: want characters of ASCII without spaces",
		"- {name: a, key: ääääääääääääääää, allow: [read]}":                           "1: key: want characters of ASCII",
		"- {name: a, key: [" + keyA + "], allow: [read]}":                             "1: key: want a text",
		"- {name: a, key: " + keyA + ", allow: []}":                                   "1: allow: want a list of publish, read, admin",
		"- {name: a, key: " + keyA + ", allow: read}":                                 "1: allow: want a list of",
		"- {name: a, key: " + keyA + ", allow: [read, " + keyB + "]}":                 "1: allow: want a list of",
		"- {name: a, key: " + keyA + ", allow: [1]}":                                  "1: allow: want a list of",
		"- {name: \"\", key: " + keyA + ", allow: [read]}":                            "1: name: want 1 to 64 letters",
		"- {name: \"a\\n\", key: " + keyA + ", allow: [read]}":                        "1: name: want 1 to 64 letters",
		"- {name: " + strings.Repeat("n", 65) + ", key: " + keyA + ", allow: [read]}": "1: name: want 1 to 64 letters",
		"- {name: a b, key: " + keyA + ", allow: [read]}":                             "1: name: want 1 to 64 letters",
		"- {name: 7, key: " + keyA + ", allow: [read]}":                               "1: name: want 1 to 64 letters",
		"- &x {name: a, key: " + keyA + ", allow: [read]}":                            "1: want a list",
		"- {name: a, key: |\n    " + keyA + "\n  , allow: [read]}":                    ":",
	} {
		ks, err := loadKeysOf(t, text)
		if err == nil {
			t.Errorf("%s\ntaken as %v; want %s", text, ks.keys, want)
			continue
		}
		if !strings.Contains(err.Error(), "keys.yaml:"+want) && want != ":" {
			t.Errorf("%s\n%v; want %s", text, err, want)
		}
		for _, secret := range []string{keyA, keyB, "1234567890123456789", "ää"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s\nthe error holds a key: %v", text, err)
			}
		}
	}
	if _, err := LoadKeys("/nowhere/keys.yaml"); err == nil || !strings.Contains(err.Error(), "/nowhere/keys.yaml") {
		t.Errorf("no file: %v", err)
	}
}

// FuzzKeys: no file crashes it, and no error quotes what could be a key.
func FuzzKeys(f *testing.F) {
	f.Add("- {name: a, key: " + keyA + ", allow: [read]}")
	f.Add("- name: a\n  key: |\n    x\n  allow:\n  - read\n")
	f.Add("- &a [*a]\n---\n- !!x {}\n")
	f.Fuzz(func(t *testing.T, text string) {
		ks, err := parseKeys([]byte(text))
		if (err == nil) != (ks != nil) {
			t.Fatalf("%v and %v", ks, err)
		}
		if err != nil {
			return
		}
		for i := range ks.keys {
			if k := &ks.keys[i]; k.Name == "" || k.Allow == 0 {
				t.Fatalf("%+v", k)
			}
		}
	})
}
