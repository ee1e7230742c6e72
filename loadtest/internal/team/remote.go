package team

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
	"github.com/fanfare-ws/fanfare/loadtest/internal/swarm"
)

// Remote is an agent's swarm, led from here.
type Remote struct {
	base string // http://address
	key  string
	http *http.Client

	ctx     context.Context // of questions about progress; ends with Close
	end     context.CancelFunc
	working sync.WaitGroup

	mu       sync.Mutex
	progress swarm.Progress
	asking   bool
}

// NewRemote makes a player of the agent at an address; key is what it asks for.
func NewRemote(address, key string) *Remote {
	r := &Remote{base: "http://" + address, key: key, http: &http.Client{Transport: &http.Transport{}}}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r
}

// Await finds the agents behind names, again and again until there are at least so
// many that answer, or ctx ends.
func Await(ctx context.Context, names []string, key string, least int) ([]*Remote, error) {
	for {
		found, err := Agents(ctx, names, key)
		if err == nil && len(found) >= least {
			for _, r := range found {
				err = errors.Join(err, r.call(ctx, http.MethodGet, "/v1/clock", nil, &clockAnswer{}))
			}
			if err == nil {
				return found, nil
			}
		}
		for _, r := range found {
			r.http.CloseIdleConnections()
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%d agents were wanted, and %d found", least, len(found)), err)
		case <-time.After(awaitEvery):
		}
	}
}

// awaitEvery is how often agents that are not all there yet are looked for.
const awaitEvery = time.Second

// Agents finds the agents behind names: host:port each, where a name with several
// addresses, as that of a headless service, is as many agents.
func Agents(ctx context.Context, names []string, key string) ([]*Remote, error) {
	var all []*Remote
	for _, name := range names {
		host, port, err := net.SplitHostPort(name)
		if err != nil {
			return nil, fmt.Errorf("agent %q: want host:port", name)
		}
		addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, fmt.Errorf("agent %q: %w", name, err)
		}
		seen := map[netip.Addr]bool{}
		for _, a := range addresses {
			if a = a.Unmap(); !seen[a] && (a.Is4() || len(addresses) == 1) {
				seen[a] = true
				all = append(all, NewRemote(net.JoinHostPort(a.String(), port), key))
			}
		}
	}
	return all, nil
}

// Offset is what the agent's clock lacks to this one's, and how wrong that may
// be: half of the quickest of some round trips.
func (r *Remote) Offset(ctx context.Context) (offset, within time.Duration, err error) {
	within = time.Hour
	for range 8 {
		before := time.Now()
		var c clockAnswer
		if err := r.call(ctx, http.MethodGet, "/v1/clock", nil, &c); err != nil {
			return 0, 0, err
		}
		after := time.Now()
		if half := after.Sub(before) / 2; half < within {
			within = half
			offset = before.Add(half).Sub(time.Unix(0, c.Now))
		}
	}
	return offset, within, nil
}

// Prepare is as Player says.
func (r *Remote) Prepare(ctx context.Context, job Job) error {
	return r.call(ctx, http.MethodPost, "/v1/prepare", job, &struct{}{})
}

// Measure is as Player says.
func (r *Remote) Measure(ctx context.Context, at time.Time) (account.Tops, error) {
	var tops account.Tops
	err := r.call(ctx, http.MethodPost, "/v1/measure", measureRequest{at}, &tops)
	return tops, err
}

// Settle is as Player says.
func (r *Remote) Settle(ctx context.Context, tops account.Tops) (*result.Part, error) {
	part := new(result.Part)
	err := r.call(ctx, http.MethodPost, "/v1/settle", tops, part)
	return part, err
}

// progressTimeout is how long an answer about progress is waited for.
const progressTimeout = 2 * time.Second

// Progress returns the newest that the agent has told, and asks for newer.
func (r *Remote) Progress() swarm.Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asking && r.ctx.Err() == nil {
		r.asking = true
		r.working.Go(r.ask)
	}
	return r.progress
}

// ask asks once.
func (r *Remote) ask() {
	ctx, cancel := context.WithTimeout(r.ctx, progressTimeout)
	defer cancel()
	var p swarm.Progress
	err := r.call(ctx, http.MethodGet, "/v1/progress", nil, &p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asking = false
	if err == nil {
		r.progress = p
	}
}

// Close ends the run at the agent.
func (r *Remote) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := r.call(ctx, http.MethodPost, "/v1/close", nil, &struct{}{})
	r.end()
	r.working.Wait()
	r.http.CloseIdleConnections()
	return err
}

// call asks the agent.
func (r *Remote) call(ctx context.Context, method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, r.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	if r.key != "" {
		request.Header.Set("Authorization", "Bearer "+r.key)
	}
	response, err := r.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	in := json.NewDecoder(io.LimitReader(response.Body, mostBody))
	if response.StatusCode == http.StatusOK {
		if err := in.Decode(into); err != nil {
			return fmt.Errorf("%s: %w", r.base, err)
		}
		return nil
	}
	var said struct{ Error string }
	if in.Decode(&said) != nil || said.Error == "" {
		said.Error = response.Status
	}
	return errors.New(said.Error)
}
