package gateway

import (
	"context"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Who has a name by a token shares it with no guest. On its own gateway the registry
// knows of it. Where there may be others, the gateway claims a name that no client
// can have, of the user and itself, which ends with its lease as all names do: a
// guest's gateway asks for that of each other. Of two who claim at once, each after
// its own claim looks for the other's.

// namesake is a user who is here by a token.
type namesake struct {
	connections int
	queued      bool // what is said of it to the others is about to be looked at
}

// arrived counts a connection of who has come by a token. A guest of that name here
// has it no more.
func (p *people) arrived(c *caller) {
	if p == nil || c.identity == nil {
		return
	}
	c.counted = true
	r := p.registry
	r.mu.Lock()
	n := r.namesakes[c.user]
	if n == nil {
		n = new(namesake)
		r.namesakes[c.user] = n
	}
	n.connections++
	say := n.connections == 1 && p.saysNamesakes() && n.queue()
	r.mu.Unlock()
	if say {
		p.names(c.user).add(nameTask{namesake: c.user})
	}
	p.yield(c.user)
}

// departed is owed for each arrived.
func (p *people) departed(c *caller) {
	if !c.counted {
		return
	}
	c.counted = false
	r := p.registry
	r.mu.Lock()
	n := r.namesakes[c.user]
	n.connections--
	say := n.connections == 0 && p.saysNamesakes() && n.queue()
	if n.connections == 0 && !n.queued {
		delete(r.namesakes, c.user)
	}
	r.mu.Unlock()
	if say {
		p.names(c.user).add(nameTask{namesake: c.user})
	}
}

func (n *namesake) queue() (first bool) {
	first = !n.queued
	n.queued = true
	return first
}

// saysNamesakes is whether there may be guests, on other gateways.
func (p *people) saysNamesakes() bool {
	_, shared := p.gw.cfg.Broker.(broker.Fleet)
	return shared && !p.gw.live().Auth.Required
}

// hasNamesake says whether somebody is here who has a name by a token.
func (r *registry) hasNamesake(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.namesakes[name]
	return n != nil && n.connections > 0
}

// yield takes a name from the guest here who has it: somebody has it by a token.
func (p *people) yield(name string) {
	r := p.registry
	r.mu.Lock()
	h, ok := r.held[name]
	r.mu.Unlock()
	if ok {
		h.session.shard.loop.Post(&unname{h.session, name})
	}
}

// namesakeClaim is what a gateway claims for a user who is there by a token.
func namesakeClaim(user, gateway string) broker.NameClaim {
	return broker.NameClaim{Name: user + " " + gateway, Connection: "t-" + gateway, Gateway: gateway}
}

// sayNamesake tells the other gateways that a user is here by a token, or is not any
// more, and has guests yield who have the name.
func (p *people) sayNamesake(ctx context.Context, user string) {
	r, own := p.registry, p.gw.cfg.ID
	r.mu.Lock()
	n := r.namesakes[user]
	here := n != nil && n.connections > 0
	if n != nil {
		if n.queued = false; !here {
			delete(r.namesakes, user)
		}
	}
	r.mu.Unlock()
	mine := namesakeClaim(user, own)
	if !here {
		if err := p.ReleaseName(ctx, mine, 0); err != nil && p.ctx.Err() == nil {
			p.gw.cfg.Log.Debug("a namesake was not released", "error", err)
		}
		return
	}
	ok, err := p.ClaimName(ctx, mine)
	free := false
	if err == nil && ok {
		free, err = p.vacant(ctx, broker.NameClaim{Name: user, Connection: mine.Connection, Gateway: own})
	}
	if err == nil && ok && !free {
		err = p.gw.tell(ctx, control{Type: controlYield, User: user})
	}
	if err == nil && ok {
		return
	}
	p.gw.cfg.Log.Debug("a namesake was not said", "error", err) // without one, it is being asked for
	select {
	case <-p.ctx.Done():
	case <-time.After(sayRetry):
		p.sayNamesakeAgain(user)
	}
}

// sayNamesakeAgain has it said once more who is here by a token.
func (p *people) sayNamesakeAgain(user string) {
	r := p.registry
	r.mu.Lock()
	n := r.namesakes[user]
	say := n != nil && n.queue()
	r.mu.Unlock()
	if say {
		p.names(user).add(nameTask{namesake: user})
	}
}

// namesakesAgain says all of them, where they have not been, or were forgotten.
func (p *people) namesakesAgain() {
	if p == nil || !p.saysNamesakes() {
		return
	}
	r := p.registry
	r.mu.Lock()
	var users []string
	for user := range r.namesakes {
		users = append(users, user)
	}
	r.mu.Unlock()
	for _, user := range users {
		p.sayNamesakeAgain(user)
	}
}

// unique says why a guest cannot have the name that was claimed for it: somebody has
// it by a token on another gateway.
func (p *people) unique(ctx context.Context, c broker.NameClaim) *protocol.Error {
	fleet, shared := p.gw.cfg.Broker.(broker.Fleet)
	if !shared || p.gw.live().Auth.Verifier == nil {
		return nil
	}
	members, err := fleet.Members(ctx)
	for i := 0; err == nil && i < len(members); i++ {
		if members[i].ID == c.Gateway {
			continue // the registry knows
		}
		asked, free := namesakeClaim(c.Name, members[i].ID), false
		asked.Connection, asked.Gateway = c.Connection, c.Gateway
		if free, err = p.vacant(ctx, asked); err == nil && !free {
			return errNameTaken
		}
	}
	if err != nil {
		p.gw.cfg.Log.Debug("a name was not asked for", "error", err)
		return errNoNames
	}
	return nil
}

// vacant says whether nobody holds a name, by taking it for a moment.
func (p *people) vacant(ctx context.Context, c broker.NameClaim) (bool, error) {
	ok, err := p.ClaimName(ctx, c)
	if err != nil || !ok {
		return false, err
	}
	return true, p.ReleaseName(ctx, c, 0)
}
