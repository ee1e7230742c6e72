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
	total, perAddress int

	mu         sync.Mutex
	unfinished int
	byAddress  map[netip.Addr]int
}

// NewGate returns a gate; a cap of 0 is none.
func NewGate(handshakes, perAddress int) *Gate {
	return &Gate{total: handshakes, perAddress: perAddress, byAddress: map[netip.Addr]int{}}
}

// enter counts a handshake, or refuses it.
func (g *Gate) enter(addr netip.Addr) *frame.Refusal {
	addr = network(addr)
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
	if g.perAddress > 0 {
		if g.byAddress[addr] >= g.perAddress {
			return &frame.Refusal{
				Status:  http.StatusTooManyRequests,
				Message: "too many unfinished handshakes from your address",
				Header:  [][2]string{{"Retry-After", "1"}},
				Reason:  frame.ReasonHandshakesPerAddress,
			}
		}
		g.byAddress[addr]++
	}
	g.unfinished++
	return nil
}

// leave is owed for each enter that did not refuse. Any goroutine may call it.
func (g *Gate) leave(addr netip.Addr) {
	addr = network(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unfinished--
	if g.perAddress == 0 {
		return
	}
	if g.byAddress[addr]--; g.byAddress[addr] == 0 {
		delete(g.byAddress, addr)
	}
}

func network(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	p, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return p.Addr()
}
