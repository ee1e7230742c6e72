package main

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/fanfare-ws/fanfare/internal/client"
)

// look is how tail writes a message.
type look struct {
	asJSON  bool
	prefix  bool // the time, who sent it, and its event
	rooms   bool // the room: there are several
	colors  bool
	visible bool // to a terminal: controls are shown, and not obeyed
}

// line is a message's line.
func (l *look) line(m client.Message) []byte {
	if l.asJSON {
		line := jsonLine(messageLine{m.Room, m.Epoch, m.Seq, m.Time, m.From, m.Event, m.Data})
		if l.visible {
			line = harmlessJSON(line)
		}
		return line
	}
	var line bytes.Buffer
	if l.rooms {
		line.WriteString(hueOf(m.Room).in(l.colors, m.Room) + ": ")
	}
	if l.prefix {
		line.WriteString(dim.in(l.colors, time.UnixMilli(m.Time).Format("15:04:05.000")) + " ")
		line.WriteString(bold.in(l.colors, harmless(m.From)) + " ")
		if m.Event != "" {
			line.WriteString(magenta.in(l.colors, harmless(m.Event)) + " ")
		}
	}
	line.Write(l.data(m.Data))
	line.WriteByte('\n')
	return line.Bytes()
}

// data is a string as its text, and all else as JSON on one line.
func (l *look) data(data []byte) []byte {
	text, err := jsontext.AppendUnquote(nil, data)
	if err != nil {
		var compact bytes.Buffer
		if text = data; json.Compact(&compact, data) == nil {
			text = compact.Bytes()
		}
	}
	if l.visible {
		return []byte(harmless(string(text)))
	}
	return text
}

// messageLine is a message's line of tail --json.
type messageLine struct {
	Room  string          `json:"room"`
	Epoch string          `json:"epoch"`
	Seq   uint64          `json:"seq"`
	Time  int64           `json:"time"`
	From  string          `json:"from"`
	Event string          `json:"event,omitempty"`
	Data  json.RawMessage `json:"data"`
}

type gapLine struct {
	Type   string `json:"type"`
	Room   string `json:"room"`
	Epoch  string `json:"epoch"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Reason string `json:"reason"`
}

type resetLine struct {
	Type     string `json:"type"`
	Room     string `json:"room"`
	Epoch    string `json:"epoch"`
	Seq      uint64 `json:"seq"`
	Previous place  `json:"previous"`
}

// place is a place in a room's log.
type place struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

// String returns EPOCH:SEQ, as --since takes it.
func (p place) String() string { return p.Epoch + ":" + strconv.FormatUint(p.Seq, 10) }
