package config

// fleetOptions are the keys of more than one gateway.
func (c *Config) fleetOptions() []option {
	r := &c.Redis
	return []option{
		{key: "redis.url", def: "", secret: true, value: text(&r.URL, "redis://USER:PASSWORD@HOST:PORT/DB, or rediss:// for TLS"),
			what: "Redis that gateways share, redis://USER:PASSWORD@HOST:PORT/DB or rediss:// for TLS; none is the embedded broker",
			why:  "one gateway needs nothing else"},
		{key: "redis.mode", def: "standalone", value: choice(&r.Mode, "standalone", "sentinel", "cluster"),
			what: "what redis.url and redis.addresses name: a server, sentinels, or nodes of a cluster",
			why:  "one server carries a large fleet; the others are for its failure and for more"},
		{key: "redis.addresses", def: "", value: list(&r.Addresses, parseRedisAddress, "host:port"),
			what: "sentinels or nodes, host:port, in place of the address in redis.url",
			why:  "one address is enough for one server"},
		{key: "redis.sentinel_master", def: "", value: text(&r.SentinelMaster, "a name"),
			what: "name of the server that the sentinels watch",
			why:  "there is none without sentinels"},
		{key: "redis.sentinel_username", def: "", value: text(&r.SentinelUsername, "a name"),
			what: "user at the sentinels themselves",
			why:  "sentinels mostly ask for none"},
		{key: "redis.sentinel_password", def: "", secret: true, value: text(&r.SentinelPassword, "a password"),
			what: "password at the sentinels themselves",
			why:  "sentinels mostly ask for none"},
		{key: "redis.prefix", def: "fanfare", value: text(&r.Prefix, "letters, digits and _ - . :"),
			what: "beginning of the name of every key and channel",
			why:  "tells a fleet's keys from those of others that use the same Redis"},
		{key: "redis.partitions", def: "64", value: integer(&r.Partitions, 1, 1024),
			what: "parts into which a cluster's rooms are divided; the same for every gateway",
			why:  "spreads evenly over some tens of nodes, at one connection each"},
		{key: "redis.ca_file", def: "", value: text(&r.CAFile, "a file's path"),
			what: "certificates that sign the servers', PEM; none is the system's",
			why:  "what the system trusts"},
		{key: "accept_rate", def: "0", live: true, value: integer(&c.AcceptRate, 0, maxCount),
			what: "connections that are upgraded in a second, and at once; 0 is any number. Others get 503 and Retry-After",
			why:  "a fleet that comes back spreads itself out; set it to what a gateway carries beside its load"},
		{key: "rebalance.enabled", def: "false", value: boolean(&c.Rebalance.Enabled),
			what: "send away, slowly, what this gateway holds clearly above the mean of the fleet",
			why:  "clients are cut off for it, so it is asked for"},
		{key: "max_connection_age", def: "0s", value: duration(&c.MaxConnectionAge, 0),
			what: "age at which a connection is asked to reconnect, less a random fifth; 0 is never",
			why:  "a connection that works is left alone"},
	}
}

func parseRedisAddress(s string) (string, error) {
	address, ok := parseAddress(s)
	if !ok || address[0] == ':' {
		return "", misfit(s, "host:port")
	}
	return address, nil
}
