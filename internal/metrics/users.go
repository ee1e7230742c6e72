package metrics

// Users is what a gateway counts of its users, beside what their sockets do. It is
// part of the Set.
type Users struct {
	Revocations        Gauge   // in force, or about to be forgotten
	RevocationsRefused Counter // not taken: the table was full, or they were none
	DisconnectsDropped Counter // users to be disconnected, for whom no room was left
	controlHeard       [controlMessages]Counter
}

// ControlMessage is what one gateway says to all.
type ControlMessage uint8

const (
	ControlRevoke ControlMessage = iota
	ControlDisconnect
	ControlIgnored // not known, or not well formed
	controlMessages
)

var controlNames = [controlMessages]string{"revoke", "disconnect", "ignored"}

// ControlHeard counts a control message that came.
func (u *Users) ControlHeard(c ControlMessage) { u.controlHeard[c].Inc() }

var users = []series{
	gauge("fanfare_revocations", "Revocations that this gateway knows.", func(s *Set) *Gauge { return &s.Revocations }),
	counter("fanfare_revocations_refused_total", "Revocations not taken, as their table was full.", func(s *Set) *Counter { return &s.RevocationsRefused }),
	setCounters("fanfare_control_messages_total", "Messages from gateways to all; ignored: not known, or not well formed.", "type", controlNames[:],
		func(s *Set, i int) *Counter { return &s.controlHeard[i] }),
	counter("fanfare_disconnects_dropped_total", "Users not disconnected, as too many were to be at once.", func(s *Set) *Counter { return &s.DisconnectsDropped }),
}
