package loop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/poll"
)

// Terminator does the TLS handshakes of what an Acceptor accepts, each in a
// goroutine, and gives who comes through to a loop. It reads the PROXY header
// before them, where there is one. No more handshakes compute at once than there
// are processors, so that a thousand of them do not stand between a loop and its
// turn.
type Terminator struct {
	// Immutable.
	cfg   TerminatorConfig
	turns chan struct{}

	running sync.WaitGroup

	mu         sync.Mutex
	unfinished map[*secure]struct{} // nil: closed
}

// TerminatorConfig is what a handshake lives under. Gate, Trusted, ProxyProtocol
// and Log are as the loops have them.
type TerminatorConfig struct {
	TLS           *tls.Config
	Timeout       func() time.Duration // for all of the handshake; 0 is none
	Gate          *Gate
	Trusted       func(netip.Addr) bool // is called on any goroutine
	ProxyProtocol bool
	Metrics       *metrics.TLS
	Log           *slog.Logger
}

// NewTerminator returns a terminator.
func NewTerminator(cfg TerminatorConfig) *Terminator {
	if cfg.Gate == nil {
		cfg.Gate = NewGate(0, 0)
	}
	t := &Terminator{cfg: cfg, turns: make(chan struct{}, runtime.GOMAXPROCS(0)), unfinished: map[*secure]struct{}{}}
	for range cap(t.turns) {
		t.turns <- struct{}{}
	}
	return t
}

// Close ends the handshakes that are not finished and waits for them. Any
// goroutine may call it, more than once.
func (t *Terminator) Close() {
	t.mu.Lock()
	for s := range t.unfinished {
		_ = s.socket.Close()
	}
	t.unfinished = nil
	t.mu.Unlock()
	t.running.Wait()
}

// greeting is one handshake.
type greeting struct {
	*secure
	peer    netip.AddrPort
	counted netip.Addr // what the gate has its place under
	header  *frame.ProxyHeader
}

// take begins the handshake of a socket, which it owns from now on. It does not
// wait. Who comes through goes to the loop that place says.
func (t *Terminator) take(fd int, peer netip.AddrPort, place func() *Loop) {
	g := &greeting{secure: &secure{turns: t.turns}, peer: peer}
	if !t.trusted(peer.Addr()) {
		g.counted = peer.Addr()
	}
	if refusal := t.cfg.Gate.enter(g.counted); refusal != nil {
		t.cfg.Metrics.Failed(gateErrors[refusal.Reason])
		_ = poll.Close(fd)
		return
	}
	file := os.NewFile(uintptr(fd), "")
	g.socket = file
	if !t.begin(g) {
		t.cfg.Metrics.Failed(metrics.TLSDraining)
		_ = file.Close()
		t.cfg.Gate.leave(g.counted)
		return
	}
	go func() {
		defer t.running.Done()
		t.run(g, file, place)
	}()
}

func (t *Terminator) begin(g *greeting) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.unfinished == nil {
		return false
	}
	t.unfinished[g.secure] = struct{}{}
	t.running.Add(1)
	t.cfg.Metrics.Handshakes.Add(1)
	return true
}

// over tells whether the handshake was ended by Close.
func (t *Terminator) over(g *greeting) (closed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.unfinished, g.secure)
	t.cfg.Metrics.Handshakes.Add(-1)
	return t.unfinished == nil
}

// run does one handshake, to whatever end.
func (t *Terminator) run(g *greeting, file *os.File, place func() *Loop) {
	<-t.turns
	err := t.handshake(g)
	t.turns <- struct{}{}
	g.turns = nil
	var fd int
	if err == nil {
		fd, err = poll.Release(file)
	}
	closed := t.over(g)
	t.cfg.Gate.leave(g.counted) // before its loop has the gate count it
	if err == nil {
		t.cfg.Metrics.Completed.Inc()
		g.socket = nil
		place().adoptLater(adoption{fd: fd, peer: g.peer, secure: g.secure, header: g.header})
	} else {
		why := kindOfTLS(err)
		if closed {
			why = metrics.TLSDraining
		}
		t.cfg.Metrics.Failed(why)
		t.cfg.Log.Debug("TLS handshake failed", "address", g.peer.Addr().String(), "reason", why.String(), "error", err)
		answer(file, err)
		_ = file.Close()
	}
}

func (t *Terminator) trusted(a netip.Addr) bool { return t.cfg.Trusted != nil && t.cfg.Trusted(a) }

func (t *Terminator) handshake(g *greeting) error {
	if timeout := t.cfg.Timeout(); timeout > 0 {
		if err := g.socket.SetDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
	}
	if t.cfg.ProxyProtocol && !g.counted.IsValid() {
		if err := t.readHeader(g); err != nil {
			return err
		}
	}
	g.tls = tls.Server(g.secure, t.cfg.TLS)
	return g.tls.Handshake()
}

// readHeader reads the PROXY header, and what comes with it.
func (t *Terminator) readHeader(g *greeting) error {
	var b []byte
	for {
		chunk := make([]byte, 512)
		n, err := g.waiting(g.socket.Read, chunk)
		b = append(b, chunk[:n]...)
		header, length, refusal := frame.ParseProxyHeader(b)
		switch {
		case refusal != nil:
			return refusal
		case length > 0:
			g.early, g.header = bytes.Clone(b[length:]), &header
			return t.identify(g, header.Client.Addr())
		case err != nil:
			return err
		}
	}
}

// identify has the gate count whom the PROXY header names.
func (t *Terminator) identify(g *greeting, client netip.Addr) error {
	if !client.IsValid() || t.trusted(client) {
		return nil
	}
	if refusal := t.cfg.Gate.identify(client); refusal != nil {
		return refusal
	}
	g.counted = client
	return nil
}

// answer tells who speaks HTTP where TLS is wanted what is wrong, in HTTP.
func answer(file *os.File, err error) {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) || !isHTTP(record.RecordHeader) {
		return
	}
	refusal := frame.Refusal{
		Status: http.StatusBadRequest, Code: "tls_required", Message: "this is an https and wss port",
	}
	_ = file.SetDeadline(time.Now().Add(time.Second))
	if _, err := file.Write(refusal.Append(nil)); err != nil {
		return
	}
	// To close on unread bytes would be a reset, which overtakes the answer.
	raw, err := file.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = poll.CloseWrite(int(fd)) })
	_, _ = io.CopyN(io.Discard, file, 64<<10)
}

// isHTTP tells the beginning of a request from what else is no TLS record.
func isHTTP(record [5]byte) bool {
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH"} {
		if string(record[:]) == method {
			return true
		}
	}
	return false
}

var gateErrors = map[string]metrics.TLSError{
	frame.ReasonHandshakes:           metrics.TLSHandshakes,
	frame.ReasonHandshakesPerAddress: metrics.TLSHandshakesPerAddress,
	frame.ReasonProxyHeader:          metrics.TLSProxyHeader,
}

// kindOfTLS is how a handshake that came to nothing is counted.
func kindOfTLS(err error) metrics.TLSError {
	var refusal *frame.Refusal
	var record tls.RecordHeaderError
	var operation *net.OpError
	switch {
	case errors.As(err, &refusal):
		return gateErrors[refusal.Reason]
	case errors.Is(err, os.ErrDeadlineExceeded):
		return metrics.TLSTimeout
	case errors.As(err, &record):
		return metrics.TLSNoTLS
	case errors.As(err, &operation) && operation.Op == "remote error":
		return metrics.TLSAlert
	case poll.OutOfDescriptors(err):
		return metrics.TLSDescriptors
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return metrics.TLSClosed
	}
	return metrics.TLSProtocol
}
