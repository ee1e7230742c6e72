package protocol

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestNamesOfUsers(t *testing.T) {
	for name, want := range map[string]string{
		"ada": "ada", "Ada.Lovelace_1815-12@example.com": "Ada.Lovelace_1815-12@example.com", "李雷": "李雷", "٣": "٣",
		"Zo\u00eb": "Zo\u00eb", "Zoe\u0308": "Zo\u00eb", "\u212b": "\u00c5", // NFC also of one sign for another
		strings.Repeat("x", 64): strings.Repeat("x", 64), strings.Repeat("𝒜", 64): strings.Repeat("𝒜", 64),
		strings.Repeat("e\u0308", 64): strings.Repeat("\u00eb", 64),
		"":                            "", " ": "", "a b": "", "a/b": "", "a:b": "", "<b>": "", "a\x00": "", "a\n": "", "a\u200b": "", "\u202ea": "", "½": "",
		"\u0308": "", "q\u0308": "", "a\xff": "", "\ufffd": "", "😀": "",
		strings.Repeat("x", 65): "", strings.Repeat("李", 65): "", strings.Repeat("e\u0308", 65): "", "a" + strings.Repeat("\u0308", 1<<20): "",
	} {
		got, ok := NormalizeUser(name)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%.80q: %q, %v, want %q", name, got, ok, want)
		}
		if ValidUser(name) != (want == name && name != "") {
			t.Errorf("%.80q: ValidUser is %v", name, ValidUser(name))
		}
	}
}

func TestAPlainNameCostsNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { NormalizeUser("ada.lovelace@example.com") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzUser: a name that is taken is one, is in NFC, stays as it is when it is
// taken again, and is that of every other form of it.
func FuzzUser(f *testing.F) {
	for _, name := range []string{"ada", "Zoe\u0308", "q\u0308", "a\xffb", "\u1100\u1161\u11a8", "\u0344", "a b"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		user, ok := NormalizeUser(name)
		if !ok {
			return
		}
		if !ValidUser(user) || !norm.NFC.IsNormalString(user) || utf8.RuneCountInString(user) > MaxUser {
			t.Fatalf("%q became %q", name, user)
		}
		for _, form := range []norm.Form{norm.NFC, norm.NFD} {
			if again, ok := NormalizeUser(form.String(name)); !ok || again != user {
				t.Fatalf("%q became %q, in another form %q, %v", name, user, again, ok)
			}
		}
	})
}
