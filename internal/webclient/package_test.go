package webclient

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// needProgram skips the test where a program is missing, or fails it in CI, where it has to be there. A name with a
// slash is a file, as that of what npm has installed here.
func needProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("%s is needed in CI and is missing: make deps", name)
	default:
		t.Skipf("%s is missing: make deps", name)
	}
	return path
}

func output(t *testing.T, environment []string, name string, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out
}

// What the page asks for has to stay small: under 5 KB compressed.
func TestFanfareJSIsUnderFiveKilobytesCompressed(t *testing.T) {
	const most = 5 << 10
	var compressed bytes.Buffer
	w, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(body(t, get(t, "GET", "/fanfare.js")))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if compressed.Len() >= most {
		t.Errorf("/fanfare.js is %d bytes compressed, want under %d", compressed.Len(), most)
	}
	t.Logf("/fanfare.js is %d bytes compressed", compressed.Len())
}

// TestFanfareJS runs the client's own tests, which live beside it, in Node: on the source, and the table that all
// clients are held to on what is served too.
func TestFanfareJS(t *testing.T) {
	node := needProgram(t, "node")
	output(t, nil, node, "--test", "--test-reporter=spec", "fanfare.test.mjs", "client.test.mjs", "worker.test.mjs", "conformance.test.mjs")
	output(t, []string{"FANFARE_JS=./fanfare.min.js"}, node, "--test", "--test-reporter=spec", "conformance.test.mjs")
}

func TestWhatIsServedIsMadeOfTheSource(t *testing.T) {
	terser := needProgram(t, filepath.Join("node_modules", ".bin", "terser"))
	var manifest struct{ Scripts map[string]string }
	if text, err := os.ReadFile("package.json"); err != nil {
		t.Fatal(err)
	} else if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	arguments := strings.Fields(manifest.Scripts["build"])[1:]
	made := output(t, nil, terser, arguments[:slices.Index(arguments, "--output")]...)
	committed, err := os.ReadFile("fanfare.min.js")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(made), bytes.TrimSpace(committed)) {
		t.Error("fanfare.min.js is not what fanfare.js makes: go generate ./internal/webclient")
	}
}

func TestTypesAreWhatApplicationsNeed(t *testing.T) {
	needProgram(t, filepath.Join("node_modules", ".bin", "tsc"))
	output(t, nil, needProgram(t, "npm"), "run", "--silent", "types")
}

func TestTheNPMPackageHasTheClientAndNothingElse(t *testing.T) {
	var packs []struct {
		Files []struct{ Path string }
	}
	out := output(t, nil, needProgram(t, "npm"), "pack", "--dry-run", "--json", "--ignore-scripts", "--offline")
	if err := json.Unmarshal(out, &packs); err != nil || len(packs) != 1 {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	var got []string
	for _, f := range packs[0].Files {
		got = append(got, f.Path)
	}
	slices.Sort(got)
	if want := []string{"LICENSE", "README.md", "fanfare-worker.js", "fanfare.d.ts", "fanfare.js", "fanfare.min.js", "package.json"}; !slices.Equal(got, want) {
		t.Errorf("npm pack takes %q, want %q", got, want)
	}
}

// Apache-2.0 asks that who gets the package gets its licence.
func TestTheNPMPackageHasTheLicence(t *testing.T) {
	ours, err := os.ReadFile("LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join("..", "..", "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ours, whole) {
		t.Error("LICENSE is not that of the repository")
	}
}
