package metrics

// Users is what a gateway counts of its users, beside what their sockets do. It is
// part of the Set.
type Users struct {
	Revocations        Gauge   // in force, or about to be forgotten
	RevocationsRefused Counter // not taken: the table was full, or they were none
	DisconnectsDropped Counter // users to be disconnected, for whom no room was left
	controlHeard       [controlMessages]Counter

	NamesHeld     Gauge
	NamesLost     Counter // taken from their sessions: another was quicker once the broker had forgotten them
	namesAnswered [nameResults]Counter

	LifecycleQueue   Gauge // connections that began or ended, and are to be written
	LifecycleWritten Counter
	LifecycleDropped Counter

	PresenceUnsaid       Gauge   // users of whom the broker is to be told
	PresenceSaid         Counter // users of whom it was told
	PresenceFailed       Counter // users of whom it could not be told, at each attempt
	PresenceHeard        Counter // events of rooms that are held here
	PresenceNamesDropped Counter // beyond the bound of an event's lists
	PresenceRepaired     Counter // rooms that were quiet, and had another count than was heard
}

// ControlMessage is what one gateway says to all.
type ControlMessage uint8

const (
	ControlRevoke ControlMessage = iota
	ControlDisconnect
	ControlLook
	ControlYield
	ControlIgnored // not known, or not well formed
	controlMessages
)

var controlNames = [controlMessages]string{"revoke", "disconnect", "look", "yield", "ignored"}

// ControlHeard counts a control message that came.
func (u *Users) ControlHeard(c ControlMessage) { u.controlHeard[c].Inc() }

// NameResult is how a claim of a name ended.
type NameResult uint8

const (
	NameClaimed NameResult = iota
	NameTaken
	NameUnavailable // the broker did not answer in time, or too many wait
	NameForbidden   // there is a token by now
	nameResults
)

var nameResultNames = [nameResults]string{"claimed", "taken", "unavailable", "forbidden"}

// NameAnswered counts the answer to a claim.
func (u *Users) NameAnswered(r NameResult) { u.namesAnswered[r].Inc() }

var users = []series{
	gauge("fanfare_revocations", "Revocations that this gateway knows.", func(s *Set) *Gauge { return &s.Revocations }),
	counter("fanfare_revocations_refused_total", "Revocations not taken, as their table was full.", func(s *Set) *Counter { return &s.RevocationsRefused }),
	setCounters("fanfare_control_messages_total", "Messages from gateways to all; ignored: not known, or not well formed.", "type", controlNames[:],
		func(s *Set, i int) *Counter { return &s.controlHeard[i] }),
	gauge("fanfare_names_held", "Names that connections of this gateway have registered.", func(s *Set) *Gauge { return &s.NamesHeld }),
	counter("fanfare_names_lost_total", "Names taken from their connections: the broker had forgotten them and another was quicker.",
		func(s *Set) *Counter { return &s.NamesLost }),
	setCounters("fanfare_name_claims_total", "Claims of names answered, by result.", "result", nameResultNames[:],
		func(s *Set, i int) *Counter { return &s.namesAnswered[i] }),
	gauge("fanfare_lifecycle_queue_depth", "Connections that began or ended, of which the log of events is to be told.",
		func(s *Set) *Gauge { return &s.LifecycleQueue }),
	counter("fanfare_lifecycle_written_total", "Connections that began or ended, of which the log of events was told.",
		func(s *Set) *Counter { return &s.LifecycleWritten }),
	counter("fanfare_lifecycle_dropped_total", "Connections that began or ended, of which the log of events was not told.",
		func(s *Set) *Counter { return &s.LifecycleDropped }),
	gauge("fanfare_presence_queue_depth", "Users of whom the broker is to be told that they came, left or have another number of connections.",
		func(s *Set) *Gauge { return &s.PresenceUnsaid }),
	counter("fanfare_presence_said_total", "Users of whom the broker was told.", func(s *Set) *Counter { return &s.PresenceSaid }),
	counter("fanfare_presence_failed_total", "Users of whom the broker could not be told; it is tried again.", func(s *Set) *Counter { return &s.PresenceFailed }),
	counter("fanfare_presence_events_total", "Events of who came and left, of all gateways, in rooms that this one holds.",
		func(s *Set) *Counter { return &s.PresenceHeard }),
	counter("fanfare_presence_names_dropped_total", "Names that did not fit into an event for members; its count is exact.",
		func(s *Set) *Counter { return &s.PresenceNamesDropped }),
	counter("fanfare_presence_repaired_total", "Quiet rooms that had another number of users than was heard: their members were told.",
		func(s *Set) *Counter { return &s.PresenceRepaired }),
	loopCounter("fanfare_presence_sent_total", "Presence events sent to members.", func(l *Loop) *Counter { return &l.PresenceSent }),
	loopCounter("fanfare_presence_skipped_total", "Presence events not sent, as the member's socket took nothing; it gets the count once it does.",
		func(l *Loop) *Counter { return &l.PresenceSkipped }),
	counter("fanfare_disconnects_dropped_total", "Users not disconnected, as too many were to be at once.", func(s *Set) *Counter { return &s.DisconnectsDropped }),
}
