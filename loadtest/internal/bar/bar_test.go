package bar

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/fanfare-ws/fanfare/loadtest/internal/floor"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// compared is a comparison in which a gateway costs so much more than the floor.
func compared(costs float64) *floor.Table {
	t := &floor.Table{Rounds: 3}
	for _, kind := range []floor.Kind{floor.OneAtATime, floor.UnderWay, floor.OpenLoop, floor.Rooms, floor.RoomsOpenLoop, floor.Fleet} {
		r := floor.Row{Kind: kind, Name: string(kind)}
		for range 3 {
			r.Floor = append(r.Floor, floor.Score{Deliveries: 1e6, User: 1, System: 7, P50: 1, P99: 10})
			r.Gateway = append(r.Gateway, floor.Score{Deliveries: 1.1e6, User: costs, System: 7 * costs, P50: 1, P99: 10 * costs, NearP99: 10, FarP99: 10 * costs})
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

func TestEachLineIsHeldToItsBar(t *testing.T) {
	for _, tt := range []struct {
		costs float64
		held  int
	}{{0.05, 9}, {1.05, 8}, {1.06, 7}, {1.12, 4}, {1.18, 2}, {1.3, 1}} {
		r := &Report{Floor: compared(tt.costs)}
		r.Add(Compared(r.Floor))
		if len(r.Lines) != 9 || len(r.Lines)-r.Missed() != tt.held {
			t.Errorf("at %v of the floor: %d lines of %d are held, want %d", tt.costs, len(r.Lines)-r.Missed(), len(r.Lines), tt.held)
		}
	}
}

func TestWhatCouldNotBeMeasuredIsNotHeld(t *testing.T) {
	r := &Report{Floor: &floor.Table{}}
	r.Add(Publish(0, 0))
	r.Add([]Line{{What: "a least", Measured: math.Inf(1), Bar: 1, Least: true}})
	var text strings.Builder
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	if r.Missed() != 2 || strings.Count(text.String(), "MISS") != 2 {
		t.Errorf("%d missed:\n%s", r.Missed(), &text)
	}
}

func TestTheTableAndThePictureShowEachLine(t *testing.T) {
	r := &Report{Floor: compared(1.12), Machine: result.Machine{Revision: "abc<"}}
	r.Add(Compared(r.Floor))
	r.Add(IdleRooms(100_000, 20<<20, 120<<20, 19<<20))
	var text, picture strings.Builder
	if err := errors.Join(r.Write(&text), r.Draw(&picture)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"commit abc<", "1.12", "≤ 1.10", "MISS", "pass", "1,049 B", "100,000 idle rooms", "≥ 1,000,000 /s"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &text)
		}
	}
	d := xml.NewDecoder(strings.NewReader(picture.String()))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
	}
	if n := strings.Count(picture.String(), "<rect"); n != 8 {
		t.Errorf("%d bars and a background, want 7 and one", n-1)
	}
}
