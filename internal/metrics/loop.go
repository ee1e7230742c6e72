package metrics

// Loop is what one event loop counts. Only the loop's goroutine writes to it,
// but for InboxDepth, which whoever posts to the loop raises.
type Loop struct {
	Connections       Gauge // open WebSockets
	Handshakes        Gauge // sockets whose head is not complete
	Opened            Counter
	MessagesReceived  Counter // complete data messages
	FramesSent        Counter
	BytesSent         Counter
	Turns             Histogram // nanoseconds of work in a turn, without the wait
	WriteBatch        Histogram // frames a write finished
	HeartbeatRTT      Histogram
	Memberships       Gauge
	QueueFrames       Histogram // over connections, sampled
	QueueBytes        Histogram // likewise
	QueueOldest       Gauge     // nanoseconds the longest blocked connection has waited
	QueuedReplies     Gauge     // bytes of connections' own queues
	Fanout            Histogram // publish accepted to last socket of this loop written
	Panics            Counter
	RateLimited       Counter
	InboxDepth        Gauge
	Resets            Counter
	PresenceSent      Counter
	PresenceSkipped   Counter
	closed            [closeReasons]Counter
	rejected          []Counter
	heartbeatTimeouts [heartbeatKinds]Counter
	dropped           [stages][policies]Counter
	published         [publishResults]Counter
	limited           [limits]Counter
	errors            []Counter
}

// NewLoops returns so many of them.
func NewLoops(n int) []*Loop {
	loops := make([]*Loop, n)
	for i := range loops {
		loops[i] = NewLoop()
	}
	return loops
}

// NewLoop returns a Loop with all at zero.
func NewLoop() *Loop {
	return &Loop{
		Turns:        newHistogram(turnDurations),
		WriteBatch:   newHistogram(batchFrames),
		HeartbeatRTT: newHistogram(latencies),
		QueueFrames:  newHistogram(depthFrames),
		QueueBytes:   newHistogram(depthBytes),
		Fanout:       newHistogram(latencies),
		rejected:     make([]Counter, len(rejectNames)),
		errors:       make([]Counter, len(errorNames)),
	}
}

// Closed counts an open connection that ended.
func (l *Loop) Closed(r CloseReason) { l.closed[r].Inc() }

// Rejected counts a handshake that was refused, by the refusal's reason.
func (l *Loop) Rejected(reason string) {
	i, ok := rejectIndex[reason]
	if !ok {
		i = rejectIndex["other"]
	}
	l.rejected[i].Inc()
}

// HeartbeatTimeout counts a connection that a heartbeat ended.
func (l *Loop) HeartbeatTimeout(k HeartbeatKind) { l.heartbeatTimeouts[k].Inc() }

// Dropped counts n frames that a member will not get.
func (l *Loop) Dropped(s Stage, p Policy, n uint64) { l.dropped[s][p].Add(int(n)) }

// Published counts how a publish ended.
func (l *Loop) Published(r PublishResult) { l.published[r].Inc() }

// Limited counts a refusal by a limit.
func (l *Loop) Limited(by Limit) { l.limited[by].Inc() }

// ErrorSent counts an error reply by its code.
func (l *Loop) ErrorSent(code string) {
	if i, ok := errorIndex[code]; ok {
		l.errors[i].Inc()
	}
}
