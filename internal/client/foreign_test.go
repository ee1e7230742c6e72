package client

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// TestAForeignServerUnderstandsTheClient runs the client over TCP against a
// WebSocket stack that shares no code with it, plain and with compression.
func TestAForeignServerUnderstandsTheClient(t *testing.T) {
	for _, deflate := range []bool{false, true} {
		t.Run(fmt.Sprintf("deflate=%v", deflate), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(foreign))
			defer server.Close()
			joined := make(chan struct{})
			messages := make(chan Message, 10)
			faults := make(chan Fault, 10)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c, err := Dial(ctx, Config{
				URL: server.URL, Deflate: deflate, Rooms: []Subscription{{Room: "a"}},
				OnEvent: func(e Event) {
					switch e := e.(type) {
					case Joined:
						close(joined)
					case Message:
						messages <- e
					case Fault:
						faults <- e
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.limits.Deflate != deflate {
				t.Errorf("deflate is %v", c.limits.Deflate)
			}
			select {
			case <-joined:
			case <-ctx.Done():
				t.Fatal("not joined")
			}
			for seq := uint64(1); seq <= 3; seq++ {
				data := `"` + strings.Repeat(fmt.Sprint("größe ", seq), int(seq*3000)) + `"`
				p, err := c.Publish(ctx, "a", []byte(data), PublishOptions{})
				if err != nil || p.Seq != seq {
					t.Fatalf("publish %d: %v, %v", seq, p, err)
				}
				select {
				case m := <-messages:
					if m.Seq != seq || string(m.Data) != data {
						t.Errorf("message %d came with %d bytes", m.Seq, len(m.Data))
					}
				case f := <-faults:
					t.Fatal(f)
				case <-ctx.Done():
					t.Fatal("no message")
				}
			}
		})
	}
}

// foreign is a gateway of one connection and one room.
func foreign(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:         []string{protocol.Subprotocol},
		CompressionMode:      websocket.CompressionNoContextTakeover,
		CompressionThreshold: 1,
	})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	ctx := r.Context()
	send := func(b []byte) { _ = conn.Write(ctx, websocket.MessageText, b) }
	send(protocol.AppendWelcome(nil, protocol.Welcome{Connection: "c", MessageBytes: 1 << 20}))
	var d protocol.Decoder
	var seq uint64
	for {
		_, msg, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var req protocol.Request
		if err := d.Decode(msg, &req); err != nil {
			send(protocol.AppendError(nil, req.ID, err))
			continue
		}
		switch req.Type {
		case protocol.TypeJoin:
			send(protocol.AppendJoined(nil, req.ID, protocol.Joined{Room: string(req.Room), Position: protocol.Position{Epoch: "e"}}))
		case protocol.TypePublish:
			seq++
			send(protocol.AppendPublished(nil, req.ID, "a", protocol.Position{Epoch: "e", Seq: seq}, false))
			send(protocol.AppendMessage(nil, &protocol.Message{Room: "a", Epoch: "e", Seq: seq, Data: req.Data}))
		}
	}
}
