package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// maxErrorBody bounds what is read of a refusal.
const maxErrorBody = 64 << 10

var errExtension = errors.New("the gateway answered permessage-deflate with context takeover")

// connection is what a handshake gives.
type connection struct {
	net.Conn
	early   []byte // frames that came with the handshake's answer
	deflate bool
}

// handshake connects and upgrades. An answer that is not 101 is a
// *RefusedError.
func handshake(ctx context.Context, c *Config, target *url.URL, token string) (connection, error) {
	header := c.Header
	if token != "" {
		header = header.Clone()
		if header == nil {
			header = make(http.Header)
		}
		header.Set("Authorization", "Bearer "+token)
	}
	var refused *RefusedError
	dialer := ws.Dialer{
		Protocols: []string{protocol.Subprotocol},
		Header:    ws.HandshakeHeaderHTTP(header),
		NetDial:   c.NetDial,
		TLSConfig: c.TLS,
		OnStatusError: func(status int, _ []byte, answer io.Reader) {
			refused = readRefusal(status, answer)
		},
	}
	if c.Deflate {
		offer := wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}
		dialer.Extensions = append(dialer.Extensions, offer.Option())
	}
	conn, early, answer, err := dialer.Dial(ctx, target.String())
	if err != nil {
		if refused != nil {
			err = refused
		}
		return connection{}, fmt.Errorf("connect to %s: %w", target.Host, err)
	}
	made := connection{Conn: conn}
	for i := range answer.Extensions {
		// RFC 7692 section 7.1.1.1: without server_no_context_takeover each
		// message would need those before it.
		var p wsflate.Parameters
		if err := p.Parse(answer.Extensions[i]); err != nil || !p.ServerNoContextTakeover {
			conn.Close()
			return connection{}, fmt.Errorf("connect to %s: %w", target.Host, errExtension)
		}
		made.deflate = true
	}
	if early != nil {
		made.early = drain(early)
	}
	return made, nil
}

// drain takes the bytes that the Dialer read behind the handshake's head.
func drain(early *bufio.Reader) []byte {
	held, _ := early.Peek(early.Buffered())
	taken := append([]byte(nil), held...)
	ws.PutReader(early)
	return taken
}

func readRefusal(status int, answer io.Reader) *RefusedError {
	refused := &RefusedError{Status: status}
	response, err := http.ReadResponse(bufio.NewReader(answer), nil)
	if err != nil {
		return refused
	}
	defer response.Body.Close()
	refused.RetryAfter = retryAfter(response.Header.Get("Retry-After"))
	var body struct {
		Error struct{ Code, Message string }
	}
	// A proxy's answer has another body, or none: the status is enough then.
	if json.NewDecoder(io.LimitReader(response.Body, maxErrorBody)).Decode(&body) == nil {
		refused.Code, refused.Message = body.Error.Code, body.Error.Message
	}
	return refused
}

// retryAfter reads seconds or an HTTP date (RFC 9110 section 10.2.3).
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
