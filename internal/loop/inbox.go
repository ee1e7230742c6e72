package loop

import (
	"net/netip"
	"sync"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

// inbox is what other goroutines want of a loop.
type inbox struct {
	mu     sync.Mutex
	posts  []any
	adopts []adoption
	stop   bool
	closed bool

	// The loop's goroutine's: the slices of the last turn, used again.
	oldPosts  []any
	oldAdopts []adoption
}

// adoption is a socket on its way to a loop.
type adoption struct {
	fd     int
	peer   netip.AddrPort
	inner  bool               // is of a pair made by Connect
	secure *secure            // nil: it is no TLS
	header *frame.ProxyHeader // was read already; nil: none was
}

// sparedPosts is the size above which a slice of posts or adoptions is not kept.
const sparedPosts = 4096

// Post hands v to Handler.Posted. It never blocks, and any goroutine may call
// it. After Run has returned posts are let go.
func (l *Loop) Post(v any) {
	l.inbox.mu.Lock()
	defer l.inbox.mu.Unlock()
	if l.inbox.closed {
		return
	}
	l.inbox.posts = append(l.inbox.posts, v)
	l.metrics.InboxDepth.Set(int64(len(l.inbox.posts)))
	if len(l.inbox.posts) == 1 {
		l.poller.Wake()
	}
}

// Adopt gives a non-blocking socket to the loop, which owns it from now on. It
// never blocks, and any goroutine may call it. A loop that stops closes it.
func (l *Loop) Adopt(fd int, peer netip.AddrPort) { l.adoptLater(adoption{fd: fd, peer: peer}) }

func (l *Loop) adoptLater(a adoption) {
	l.conns.Add(1)
	l.inbox.mu.Lock()
	defer l.inbox.mu.Unlock()
	if l.inbox.closed {
		l.decline(a)
		return
	}
	l.inbox.adopts = append(l.inbox.adopts, a)
	if len(l.inbox.adopts) == 1 {
		l.poller.Wake()
	}
}

// Stop closes every connection, the open ones with 1001, and lets Run return
// when the last has ended, at most Config.Linger later. Any goroutine may call
// it, more than once.
func (l *Loop) Stop() {
	l.inbox.mu.Lock()
	defer l.inbox.mu.Unlock()
	if !l.inbox.closed {
		l.inbox.stop = true
		l.poller.Wake()
	}
}

// decline lets go of a socket that was never a connection.
func (l *Loop) decline(a adoption) {
	_ = poll.Close(a.fd)
	l.conns.Add(-1)
}

// take empties the inbox. done gives the slices back.
func (b *inbox) take(m *metrics.Loop) (posts []any, adopts []adoption, stop bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.posts) > 0 {
		posts, b.posts = b.posts, b.oldPosts[:0]
		m.InboxDepth.Set(0)
	}
	if len(b.adopts) > 0 {
		adopts, b.adopts = b.adopts, b.oldAdopts[:0]
	}
	return posts, adopts, b.stop
}

func (b *inbox) done(posts []any, adopts []adoption) {
	if posts != nil {
		clear(posts)
		if b.oldPosts = posts; cap(posts) > sparedPosts {
			b.oldPosts = nil
		}
	}
	if adopts != nil {
		if b.oldAdopts = adopts; cap(adopts) > sparedPosts {
			b.oldAdopts = nil
		}
	}
}

// close makes the inbox let go of what comes, and returns the sockets in it.
func (b *inbox) close() []adoption {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.posts = nil
	return b.adopts
}
