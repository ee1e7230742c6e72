package config

// Events is the log of what happens to connections and users, for backends.
type Events struct {
	Enabled bool
	Max     int // that are kept, about; in a cluster for each of its parts
}

// Kept is about how many events are kept; 0: none are written.
func (e Events) Kept() int {
	if !e.Enabled {
		return 0
	}
	return e.Max
}

// peopleOptions are the keys of what is told of users.
func (c *Config) peopleOptions() []option {
	return []option{
		{key: "events.enabled", def: "false", value: boolean(&c.Events.Enabled),
			what: "write lifecycle events for backends: connections that begin and end, users that join and leave rooms, rooms that get their first" +
				" user and lose their last. `fanfare events` reads them; in Redis they are the stream PREFIX:events",
			why: "each connection then costs Redis two entries more, and not everyone has a backend that reads them"},
		{key: "events.max", def: "100000", value: integer(&c.Events.Max, 1, maxCount),
			what: "events that are kept, about; past it the oldest go. In a cluster, for each of its partitions",
			why:  "6 to 8 MB of memory; enough for a backend that was away for a while"},
	}
}
