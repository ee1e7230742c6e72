package deploytest

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// ofRolling runs a line of shell with the functions of deploy/rolling.sh.
func ofRolling(t *testing.T, line, stdin string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.Command(program(t, "bash"), "-c", ". deploy/rolling.sh; "+line)
	var out, said strings.Builder
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = root, strings.NewReader(stdin), &out, &said
	err = cmd.Run()
	return out.String(), said.String(), err
}

// How many clients a gateway took a second is told of whatever samples there are: of
// one that was seldom asked, and of one whose process is another.
func TestRollingTellsTheAcceptRate(t *testing.T) {
	for name, tt := range map[string]struct {
		samples string
		want    string
	}{
		"in two seconds":   {"10.0 1 100\n10.5 1 120\n11.0 1 260\n12.0 1 300\n13.0 1 300\n", "100"},
		"not in one":       {"10.0 1 0\n10.5 1 100\n12.0 1 100\n14.0 1 100\n", "50"},
		"of the fastest":   {"10.0 1 0\n12.0 1 20\n10.0 2 0\n12.0 2 80\n", "40"},
		"seldom asked":     {"10.0 1 500\n13.0 1 800\n16.0 1 1400\n", "200"},
		"another process":  {"10.0 1 900\n11.0 1 60\n12.0 1 120\n", "60"},
		"nobody was taken": {"10.0 1 900\n11.0 1 900\n", "0"},
	} {
		if got, said, err := ofRolling(t, "most_accepted", tt.samples); err != nil || got != tt.want {
			t.Errorf("%s: %q, want %q: %v, %s", name, got, tt.want, err, said)
		}
	}
}

// Why it gave up is said, also where it was waiting for something.
func TestRollingSaysWhyItFails(t *testing.T) {
	const why = "the load ended before it began"
	out, said, err := ofRolling(t, fmt.Sprintf("tried() { fail '%s'; }; until_ok 'clients are there' 9 tried; echo went on", why), "")
	if err == nil || out != "" || said != "rolling: "+why+"\n" {
		t.Errorf("%v; %q; %q", err, out, said)
	}
	if _, said, err = ofRolling(t, "until_ok 'clients are there' 0 false", ""); err == nil || said != "rolling: not in time: clients are there\n" {
		t.Errorf("%v; %q", err, said)
	}
}
