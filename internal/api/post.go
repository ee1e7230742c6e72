package api

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fanfare-ws/fanfare/internal/frame"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// postBehind ends the path of a room that is published to, /rooms/{room}/messages:
// the other half of its events, for clients that cannot use a WebSocket.
const postBehind = "/messages"

// postMost bounds a message where the gateway has no limit.
const postMost = 16 << 20

func isPost(u *url.URL) bool { return strings.HasSuffix(u.EscapedPath(), postBehind) }

// post publishes the body, {data, event?, id?}, to the room. As for events a
// connection to the own gateway says it, so that nobody may publish here what a
// WebSocket may not; who it is and from which page is judged before the body is
// read.
func post(w http.ResponseWriter, r *http.Request) {
	if shared(w, r, http.MethodPost) {
		return
	}
	if p := answerPost(w, r); p != nil {
		p.write(w, "")
	}
}

func answerPost(w http.ResponseWriter, r *http.Request) *problem {
	if r.Method != http.MethodPost {
		return &problem{status: http.StatusMethodNotAllowed, code: protocol.InvalidRequest, detail: "this path has no such method",
			header: "Allow", value: "POST"}
	}
	room, ok := roomOf(r.URL, postBehind)
	if !ok || !protocol.ValidRoom(room) {
		return invalid("room", "1 to 128 characters of A-Z a-z 0-9 _ - . : @ /")
	}
	conn, p := dialInside(r)
	if p != nil {
		return p
	}
	defer conn.end()
	message, p := readPost(w, r, room, conn.messageBytes)
	if p != nil {
		return p
	}
	published, p := conn.publish(message)
	if p != nil {
		return p
	}
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Cache-Control"] = noStore
	position := protocol.AppendPosition(nil, published.Room, published.Position, published.Duplicate)
	_, _ = w.Write(append(position, '\n')) // on a line, as on the admin port; who has gone needs no answer
	return nil
}

// readPost reads a message and makes the request of it that a client sends. Its
// limit is that of a message on a WebSocket, envelope and all.
func readPost(w http.ResponseWriter, r *http.Request, room string, limit int64) ([]byte, *problem) {
	if limit <= 0 {
		limit = postMost
	}
	tooLarge := &problem{status: http.StatusRequestEntityTooLarge, code: protocol.LimitExceeded,
		detail: fmt.Sprintf("a message has at most %d bytes", limit)}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit+1))
	switch {
	case int64(len(body)) > limit:
		return nil, tooLarge
	case err != nil:
		return nil, unread(err)
	}
	var decoder protocol.Decoder
	var message protocol.Post
	if err := decoder.DecodePost(body, &message); err != nil {
		return nil, refused(err)
	}
	request := protocol.AppendPublish(nil, insideID, protocol.Publish{
		Room: room, Data: message.Data, Event: string(message.Event), ID: string(message.ID),
	})
	if int64(len(request)) > limit {
		return nil, tooLarge
	}
	return request, nil
}

// publish sends the one request of a connection that publishes, and waits for its
// reply.
func (c *inside) publish(request []byte) (protocol.Published, *problem) {
	_ = c.SetDeadline(time.Now().Add(insideWait)) // what follows tells if it failed
	if err := c.send(frame.OpText, request); err != nil {
		return protocol.Published{}, unavailable("this gateway takes no more")
	}
	m, p := c.reply()
	return m.Published, p
}
