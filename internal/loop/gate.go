package loop

import (
	"net/http"
	"net/netip"
	"sync"

	"github.com/fanfare-ws/fanfare/internal/frame"
)

// Gate caps unfinished handshakes over all loops, and with them the requests that
// are no upgrade until they are answered, in all and for one address. An IPv6
// address counts as its /64, for a client has that many.
type Gate struct {
	mu                sync.Mutex
	total, perAddress int
	unfinished        int
	byAddress         map[netip.Addr]int // also without a cap, which may be set later
}

// NewGate returns a gate; a cap of 0 is none.
func NewGate(handshakes, perAddress int) *Gate {
	return &Gate{total: handshakes, perAddress: perAddress, byAddress: map[netip.Addr]int{}}
}

// SetCaps changes the caps. Who is past a lower one stays. Any goroutine may call
// it.
func (g *Gate) SetCaps(handshakes, perAddress int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total, g.perAddress = handshakes, perAddress
}

// enter counts a handshake, or refuses it. The zero address counts in all alone:
// whose it is may be told later, by identify.
func (g *Gate) enter(addr netip.Addr) *frame.Refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total > 0 && g.unfinished >= g.total {
		return &frame.Refusal{
			Status:  http.StatusServiceUnavailable,
			Message: "too many unfinished handshakes",
			Header:  [][2]string{{"Retry-After", "1"}},
			Reason:  frame.ReasonHandshakes,
		}
	}
	if refusal := g.count(addr); refusal != nil {
		return refusal
	}
	g.unfinished++
	return nil
}

// identify counts for its address a handshake that has entered without, or
// refuses it, which leaves it as it was.
func (g *Gate) identify(addr netip.Addr) *frame.Refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count(addr)
}

func (g *Gate) count(addr netip.Addr) *frame.Refusal {
	if !addr.IsValid() {
		return nil
	}
	addr = Network(addr)
	if g.perAddress > 0 && g.byAddress[addr] >= g.perAddress {
		return &frame.Refusal{
			Status:  http.StatusTooManyRequests,
			Message: "too many unfinished handshakes from your address",
			Header:  [][2]string{{"Retry-After", "1"}},
			Reason:  frame.ReasonHandshakesPerAddress,
		}
	}
	g.byAddress[addr]++
	return nil
}

// leave is owed for each enter that did not refuse, with the address that it is
// counted for. Any goroutine may call it.
func (g *Gate) leave(addr netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unfinished--
	if !addr.IsValid() {
		return
	}
	addr = Network(addr)
	if g.byAddress[addr]--; g.byAddress[addr] == 0 {
		delete(g.byAddress, addr)
	}
}

// Network is what counts as one address: in IPv6 a /64, which one client has.
func Network(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	p, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return p.Addr()
}
