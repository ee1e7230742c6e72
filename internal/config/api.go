package config

// API is what backends use.
type API struct {
	KeysFile      string // empty: no key is good
	BatchMessages int    // of one call
	BodyBytes     int64  // of one call
	Requests      int    // answered at once
}

// apiOptions are the keys of the calls on the admin address.
func (c *Config) apiOptions() []option {
	return []option{
		{key: "api.keys_file", def: "", live: true, file: true, value: text(&c.API.KeysFile, "a file's path"),
			what: "YAML file of the keys of backends, a list of {name, key, allow: [publish, read, admin]}; several count at once, also of one name",
			why:  "without one no call is let through"},
		{key: "api.batch_messages", def: "1000", value: integer(&c.API.BatchMessages, 1, 100000),
			what: "messages that one call may publish",
			why:  "a call costs some microseconds, which hundreds of messages share; more only makes who waits wait longer"},
		{key: "api.body_bytes", def: "1MiB", value: size(&c.API.BodyBytes, 1<<10),
			what: "bytes of the body of one call, or 4KiB more than limits.message_bytes if that is more",
			why:  "room for the largest message, and for a thousand of the usual ones"},
		{key: "api.requests", def: "256", value: integer(&c.API.Requests, 1, 100000),
			what: "calls that are answered at once; others get 503 and Retry-After",
			why:  "their bodies take 256 MiB then, if all are of the largest"},
		{key: "dev", def: "false", value: boolean(&c.Dev),
			what: "let calls through without a key while there is no api.keys_file, from this machine alone and not through a proxy",
			why:  "for trying it out: whoever is on the machine may do all"},
	}
}
