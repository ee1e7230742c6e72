package gateway

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

func publications(name string, n int) []broker.Publication {
	batch := make([]broker.Publication, n)
	for i := range batch {
		batch[i] = broker.Publication{Room: name, From: "backend", ID: fmt.Sprint(i), Data: []byte(fmt.Sprint(i))}
	}
	return batch
}

func TestABackendPublishesToMembers(t *testing.T) {
	s := run(t, func(c *setup) { c.Loops = 2 })
	c := s.dial()
	joined := c.join("a", "")
	batch := append(publications("a", 3), publications("b", 2)...)
	batch = append(batch, batch[0])
	results, err := s.gw.Publish(t.Context(), batch)
	if err != nil || len(results) != len(batch) {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for i, want := range []broker.Result{
		{Room: "a", Position: broker.Position{Seq: 1}}, {Room: "a", Position: broker.Position{Seq: 2}}, {Room: "a", Position: broker.Position{Seq: 3}},
		{Room: "b", Position: broker.Position{Seq: 1}}, {Room: "b", Position: broker.Position{Seq: 2}},
		{Room: "a", Position: broker.Position{Seq: 1}, Duplicate: true},
	} {
		want.Epoch = results[i].Epoch
		if results[i] != want || want.Room == "a" && want.Epoch != joined.Epoch {
			t.Errorf("result %d: %+v, want %+v", i, results[i], want)
		}
	}
	for i := range 3 {
		if m := c.expect("message").Message; m.Seq != uint64(i+1) || m.From != "backend" || string(m.Data) != fmt.Sprint(i) {
			t.Errorf("message %+v", m)
		}
	}
	if results, err := s.gw.Publish(t.Context(), nil); len(results) != 0 || err != nil {
		t.Errorf("of nothing: %v %v", results, err)
	}
	for result, want := range map[string]float64{"stored": 5, "duplicate": 1, "unavailable": 0} {
		if got := s.metric(`fanfare_messages_published_total{result="` + result + `"}`); got != want {
			t.Errorf("%v are counted as %s", got, result)
		}
	}
}

// Who has given up is not waited for, and its results come to nobody.
func TestABackendThatGivesUpIsNotWaitedFor(t *testing.T) {
	held := make(chan struct{})
	s := run(t, func(c *setup) {
		c.tap.published = func(r []broker.Result) []broker.Result { <-held; return r }
	})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := s.gw.Publish(ctx, publications("a", 2))
		failed <- err
	}()
	cancel()
	if err := receive(t, failed); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(held)
	if results, err := s.gw.Publish(t.Context(), publications("a", 2)); err != nil || !results[1].Duplicate {
		t.Errorf("%+v %v", results, err)
	}
}

func TestPublicationsAfterTheEndAreAnswered(t *testing.T) {
	s := run(t)
	s.stop()
	results, err := s.gw.Publish(t.Context(), publications("a", 1))
	if err != nil || !errors.Is(results[0].Err, broker.ErrClosed) {
		t.Errorf("%+v %v", results, err)
	}
}

func TestABackendReadsAndForgetsARoom(t *testing.T) {
	s := run(t, func(c *setup) { c.history(3, 0, 0) })
	last := s.storeN("a", 5, 10)
	page, err := s.gw.History(t.Context(), broker.Query{Room: "a", After: 3, Limit: 1})
	if err != nil || len(page.Messages) != 1 || page.Messages[0].Seq != 4 || page.Last != 5 {
		t.Errorf("history %+v %v", page, err)
	}
	info, err := s.gw.Room(t.Context(), "a")
	if err != nil || info.Room != "a" || info.Position != last || info.First != 3 || info.Class.History.Messages != 3 {
		t.Errorf("room %+v %v", info, err)
	}
	c := s.dial()
	c.join("a", "")
	if err := s.gw.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if m := c.expect("reset").Reset; m.Previous.Epoch != last.Epoch || m.Previous.Seq != 5 || m.Epoch == last.Epoch {
		t.Errorf("reset %+v", m)
	}
	if info, err = s.gw.Room(t.Context(), "a"); err != nil || info.Epoch == last.Epoch || info.Seq != 0 || info.First != 1 {
		t.Errorf("room %+v %v", info, err)
	}
}

func TestAGatewayByItselfIsItsFleet(t *testing.T) {
	s := run(t, func(c *setup) { c.Version = "v1" })
	c := s.dial()
	c.join("a", "")
	all, err := s.gw.Gateways(t.Context())
	if want := (broker.Member{ID: "gw", Version: "v1", Connections: 1, Rooms: 1}); err != nil || len(all) != 1 || all[0] != want {
		t.Errorf("%+v %v", all, err)
	}
	b, r := runRemote(t)
	b.setOthers(broker.Member{ID: "b", Connections: 4})
	r.announce()
	if all, err = r.gw.Gateways(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("%+v %v", all, err)
	}
}

func BenchmarkABackendPublishes(b *testing.B) {
	s := run(b)
	s.store("a", "1")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		data := []byte(`{"text":"hello"}`)
		for pb.Next() {
			if r, err := s.gw.Publish(context.Background(), []broker.Publication{{Room: "a", From: "backend", Data: data}}); err != nil || r[0].Err != nil {
				b.Fatal(r, err)
			}
		}
	})
}
