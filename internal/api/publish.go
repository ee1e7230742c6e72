package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/protocol"
	"github.com/fanfare-ws/fanfare/internal/tracing"
)

// publish is POST /v1/rooms/{room}/messages.
func (x *exchange) publish() *problem {
	s := scratches.Get().(*scratch)
	defer s.release()
	body, p := x.read(s)
	if p != nil {
		return p
	}
	var post protocol.Post
	if err := s.decoder.DecodePost(body, &post); err != nil {
		return refused(err)
	}
	if p := x.fits(&post); p != nil {
		return p
	}
	// The broker answers each message in its own time, which is bounded.
	results, err := x.api.cfg.Gateway.Publish(x.traced(), []broker.Publication{x.publication(x.name, &post)})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return x.unstored(err)
	}
	s.answer = protocol.AppendPosition(s.answer[:0], x.name, protocol.Position(results[0].Position), results[0].Duplicate)
	x.reply(s.answer)
	return nil
}

// fits bounds a message as the limit of a WebSocket's does. Here it is the data's
// alone: there is no envelope.
func (x *exchange) fits(post *protocol.Post) *problem {
	limit := x.api.cfg.Gateway.MessageBytes()
	if limit <= 0 || int64(len(post.Data)) <= limit {
		return nil
	}
	return &problem{status: http.StatusRequestEntityTooLarge, code: protocol.LimitExceeded,
		detail: fmt.Sprintf("data: at most %d bytes", limit), field: "data"}
}

// publication is what the broker keeps of a message: nothing of the call's body.
func (x *exchange) publication(room string, post *protocol.Post) broker.Publication {
	from := post.From
	if from == "" {
		from = x.key.Name
	}
	return broker.Publication{Room: room, From: from, Event: string(post.Event), ID: string(post.ID), Data: bytes.Clone(post.Data)}
}

// traced is the call's context, with the trace that its header names: who has a key
// may have its messages recorded.
func (x *exchange) traced() context.Context { return tracing.WithParent(x.r.Context(), x.r.Header) }

// unstored is the problem of a message that is not known to be stored.
func (x *exchange) unstored(err error) *problem {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return unavailable("the broker did not answer in time, so that the message may have been stored or not: send it again with the same id")
	}
	if errors.Is(err, broker.ErrUnavailable) || errors.Is(err, broker.ErrClosed) {
		return unavailable("the message was not stored in time: it may be sent again with the same id")
	}
	return x.failed(err)
}

// publishMany is POST /v1/messages: each message has a result of its own, so that
// one that is refused keeps no other back.
func (x *exchange) publishMany() *problem {
	s := scratches.Get().(*scratch)
	defer s.release()
	body, p := x.read(s)
	if p != nil {
		return p
	}
	var refusal *protocol.Error
	if s.posts, refusal = s.decoder.DecodePosts(s.posts[:0], body, x.api.cfg.Batch); refusal != nil {
		return refused(refusal)
	}
	batch := make([]broker.Publication, 0, len(s.posts))
	problems := make([]*problem, len(s.posts))
	for i := range s.posts {
		if problems[i] = x.judge(&s.posts[i]); problems[i] == nil {
			batch = append(batch, x.publication(string(s.posts[i].Room), &s.posts[i]))
		}
	}
	results := x.store(batch)
	s.answer = append(s.answer[:0], '[')
	for i, p := range problems {
		if i > 0 {
			s.answer = append(s.answer, ',')
		}
		if p == nil {
			r := &results[0]
			results = results[1:]
			if r.Err == nil {
				s.answer = protocol.AppendPosition(s.answer, r.Room, protocol.Position(r.Position), r.Duplicate)
				continue
			}
			p = x.unstored(r.Err)
		}
		s.answer = append(s.answer, `{"error":`...)
		s.answer = append(s.answer, p.body(x.id)...)
		s.answer = append(s.answer, '}')
	}
	x.reply(append(s.answer, ']'))
	return nil
}

// judge tells what is wrong with one message of several; nil is nothing.
func (x *exchange) judge(post *protocol.Post) *problem {
	if post.Err != nil {
		return refused(post.Err)
	}
	room := string(post.Room)
	if !auth.Allowed(auth.Caller{Key: x.key}, auth.Publish, room, x.api.cfg.Gateway.Rules(room)) {
		return &problem{status: http.StatusForbidden, code: protocol.Forbidden, detail: "this key is not for that"}
	}
	return x.fits(post)
}

// store publishes a batch and returns a result for each message. What is an error
// of all is one of each.
func (x *exchange) store(batch []broker.Publication) []broker.Result {
	if len(batch) == 0 {
		return nil
	}
	results, err := x.api.cfg.Gateway.Publish(x.traced(), batch)
	if err == nil {
		return results
	}
	results = make([]broker.Result, len(batch))
	for i := range results {
		results[i] = broker.Result{Room: batch[i].Room, Err: err}
	}
	return results
}
