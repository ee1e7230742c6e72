package faulttest

import (
	"bufio"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// proxy is a way from one process to another that can be broken. Every goroutine
// of it ends with close.
type proxy struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup
	dropped  atomic.Int64

	mu sync.Mutex
	// Guarded by mu.
	delay  time.Duration
	held   chan struct{} // not nil: nothing passes until it is closed
	drop   float64       // part of the pub/sub messages that are not passed on
	pairs  map[*pair]struct{}
	closed bool
	random *rand.Rand
}

// pair is one connection through the proxy.
type pair struct{ client, server net.Conn }

func newProxy(target string, seed uint64) (*proxy, error) {
	l, err := net.Listen("tcp", local(freePort()))
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, pairs: make(map[*pair]struct{}), random: rand.New(rand.NewPCG(seed, 77))}
	p.done.Go(p.accept)
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// slow delays all that passes, each way.
func (p *proxy) slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// hold lets nothing pass, and no connection come about; nobody is told. What was
// sent meanwhile passes after release.
func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = make(chan struct{})
	}
}

func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}

// lose drops a part of the pub/sub messages.
func (p *proxy) lose(part float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop = part
}

// resetAll ends all connections with an RST to both sides.
func (p *proxy) resetAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for x := range p.pairs {
		for _, c := range []net.Conn{x.client, x.server} {
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.release()
	p.resetAll()
	p.done.Wait()
}

// pass waits while the proxy is held, and returns the delay.
func (p *proxy) pass() time.Duration {
	for {
		p.mu.Lock()
		held, delay := p.held, p.delay
		p.mu.Unlock()
		if held == nil {
			return delay
		}
		<-held
	}
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.serve(c) })
	}
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	p.pass()
	s, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		_ = c.(*net.TCPConn).SetLinger(0)
		return
	}
	defer s.Close()
	_ = s.(*net.TCPConn).SetReadBuffer(64 << 10) // what is held is felt by the server soon
	x := &pair{client: c, server: s}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.pairs[x] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pump(s, c, rawChunks(c)) })
	both.Go(func() { p.pump(c, s, p.replies(s)) })
	both.Wait()
	p.mu.Lock()
	delete(p.pairs, x)
	p.mu.Unlock()
}

// chunk is bytes on their way, and when they are due.
type chunk struct {
	bytes []byte
	due   time.Time
}

// pump passes on what next reads of from, each piece after the proxy's delay, and
// then shuts to. Reading and writing overlap, so that a delay is no bandwidth.
func (p *proxy) pump(to, from net.Conn, next func() ([]byte, error)) {
	queue := make(chan chunk, 256)
	var writing sync.WaitGroup
	writing.Go(func() {
		for c := range queue {
			p.pass()
			if d := time.Until(c.due); d > 0 {
				t := time.NewTimer(d)
				<-t.C
			}
			if _, err := to.Write(c.bytes); err != nil {
				from.Close()
			}
		}
	})
	for {
		b, err := next()
		if len(b) > 0 {
			queue <- chunk{b, time.Now().Add(p.pass())}
		}
		if err != nil {
			break
		}
	}
	close(queue)
	writing.Wait()
	_ = to.(*net.TCPConn).CloseWrite()
}

// rawChunks reads whatever comes.
func rawChunks(c net.Conn) func() ([]byte, error) {
	return func() ([]byte, error) {
		b := make([]byte, 16<<10)
		n, err := c.Read(b)
		return b[:n], err
	}
}

// replies reads whole values of Redis's protocol and leaves out some of the
// pub/sub messages, once that was asked for; what is no RESP comes as it is.
func (p *proxy) replies(c net.Conn) func() ([]byte, error) {
	r := bufio.NewReaderSize(c, 64<<10)
	return func() ([]byte, error) {
		var raw []byte
		for {
			n := len(raw)
			v, err := readReply(r, &raw)
			if err != nil {
				return raw, err
			}
			if isPush(v) && p.loses() {
				raw = raw[:n]
				p.dropped.Add(1)
			}
			if r.Buffered() == 0 || len(raw) > 32<<10 {
				return raw, nil
			}
		}
	}
}

func (p *proxy) loses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drop > 0 && p.random.Float64() < p.drop
}
