package deploytest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
)

// deploy/loadtest's compose file is one, knows where its Dockerfile is, and starts
// a run only when it is told to.
func TestLoadtestComposeIsComplete(t *testing.T) {
	file := filepath.Join(root, "deploy", "loadtest", "compose.yml")
	o, err := cli.NewProjectOptions([]string{file}, cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	agent, lead := p.Services["agent"], p.Services["lead"]
	if agent.Build == nil || agent.Image != lead.Image {
		t.Fatalf("the agent's image %q is not built, or not the lead's %q", agent.Image, lead.Image)
	}
	if _, err := os.Stat(filepath.Join(agent.Build.Context, agent.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(agent.Build.Context, "loadtest", "main.go")); err != nil {
		t.Errorf("what is built is not there: %v", err)
	}
	if files := agent.Ulimits["nofile"]; files == nil || files.Soft < 20_000 {
		t.Errorf("an agent may have %v descriptors, want 20,000", files)
	}
	if len(lead.Profiles) != 1 || len(agent.Profiles) != 0 {
		t.Errorf("profiles: lead %q, agent %q", lead.Profiles, agent.Profiles)
	}
	for name, s := range p.Services {
		if len(s.Secrets) != 1 || s.Secrets[0].Source != "key" {
			t.Errorf("%s has no key", name)
		}
	}
}
