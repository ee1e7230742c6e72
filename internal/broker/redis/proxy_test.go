package redis

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands before a server, and can make subscribers' connections mute without
// ending them.
type proxy struct {
	listener net.Listener
	target   string
	done     sync.WaitGroup

	mu    sync.Mutex
	conns []*proxied
	// answers, where it is not nil, keeps what the server says to others than
	// subscribers until it is closed.
	answers chan struct{}
}

// proxied is one connection through the proxy.
type proxied struct {
	proxy          *proxy
	client, server net.Conn

	mu         sync.Mutex
	subscriber bool
	mute       bool
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target}
	p.done.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.client.Close()
			c.server.Close()
		}
		p.mu.Unlock()
		p.done.Wait()
	})
	return p
}

func (p *proxy) url() string { return "redis://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		c := &proxied{proxy: p, client: client, server: server}
		p.mu.Lock()
		p.conns = append(p.conns, c)
		p.mu.Unlock()
		p.done.Go(func() { c.copy(server, client, true) })
		p.done.Go(func() { c.copy(client, server, false) })
	}
}

// muteSubscribers has the connections that are subscribed now say nothing more.
func (p *proxy) muteSubscribers() (muted int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.mu.Lock()
		if c.subscriber {
			c.mute = true
			muted++
		}
		c.mu.Unlock()
	}
	return muted
}

// hold keeps the answers to commands until release.
func (p *proxy) hold() (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = make(chan struct{})
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		close(p.answers)
		p.answers = nil
	})
}

func (p *proxy) held() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answers
}

func (c *proxied) copy(to, from net.Conn, fromClient bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		c.mu.Lock()
		if fromClient && bytes.Contains(b[:n], []byte("subscribe")) {
			c.subscriber = true
		}
		mute, subscriber := c.mute, c.subscriber
		c.mu.Unlock()
		if held := c.proxy.held(); held != nil && !fromClient && !subscriber {
			<-held
		}
		if mute {
			n = 0
		}
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			if err != io.EOF || !mute {
				return
			}
		}
	}
}
