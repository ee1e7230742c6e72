package account

// Counts says what became of every message. Those of several books are added.
type Counts struct {
	// What publishers did. Each message counts once, however often it was sent.
	Published    uint64 `json:"published"`
	Acknowledged uint64 `json:"acknowledged"`
	Refused      uint64 `json:"refused"`    // answered with an error that ends it
	Unanswered   uint64 `json:"unanswered"` // an answer was wanted and did not come
	Uncertain    uint64 `json:"uncertain"`  // no answer was to be had: the connection was lost, and without an id it must not be sent again
	Resent       uint64 `json:"resent"`     // times that a message was sent again

	// What members were owed, by what became of it.
	Delivered   uint64 `json:"delivered"`
	Gapped      uint64 `json:"gapped"`       // announced as gap
	BehindReset uint64 `json:"behind_reset"` // lost with a log that began anew, and told so
	Unexplained uint64 `json:"unexplained"`  // neither delivered nor told

	// What members were sent and should not have been.
	Duplicate   uint64 `json:"duplicate"`
	OutOfOrder  uint64 `json:"out_of_order"` // delivered, or announced, behind a later one
	Stray       uint64 `json:"stray"`        // of a room or a log that the member is not in
	Altered     uint64 `json:"altered"`      // its data is not what was published, or differs between members
	StoredTwice uint64 `json:"stored_twice"` // one publication at two places
	Misplaced   uint64 `json:"misplaced"`    // not where its acknowledgement says

	Gaps   uint64 `json:"gaps"`   // notices
	Resets uint64 `json:"resets"` // notices, and resumes that found another log
}

// Owed is how many deliveries members had a claim to.
func (c *Counts) Owed() uint64 {
	return c.Delivered + c.Gapped + c.BehindReset + c.Unexplained
}

// Broken is how many times the protocol's promise was broken; 0 is what a run
// must end with.
func (c *Counts) Broken() uint64 {
	return c.Unexplained + c.Unanswered + c.Duplicate + c.OutOfOrder + c.Stray + c.Altered + c.StoredTwice + c.Misplaced
}

// Add adds another book's.
func (c *Counts) Add(o *Counts) {
	for _, f := range []struct{ to, from *uint64 }{
		{&c.Published, &o.Published}, {&c.Acknowledged, &o.Acknowledged}, {&c.Refused, &o.Refused},
		{&c.Unanswered, &o.Unanswered}, {&c.Uncertain, &o.Uncertain}, {&c.Resent, &o.Resent},
		{&c.Delivered, &o.Delivered}, {&c.Gapped, &o.Gapped}, {&c.BehindReset, &o.BehindReset}, {&c.Unexplained, &o.Unexplained},
		{&c.Duplicate, &o.Duplicate}, {&c.OutOfOrder, &o.OutOfOrder}, {&c.Stray, &o.Stray}, {&c.Altered, &o.Altered},
		{&c.StoredTwice, &o.StoredTwice}, {&c.Misplaced, &o.Misplaced}, {&c.Gaps, &o.Gaps}, {&c.Resets, &o.Resets},
	} {
		*f.to += *f.from
	}
}
