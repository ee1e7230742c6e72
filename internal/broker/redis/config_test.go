package redis

import (
	"strings"
	"testing"
	"time"
)

func TestWrongConfigurationsAreRefused(t *testing.T) {
	for name, c := range map[string]Config{
		"url":               {URL: "http://user:secret@host"},
		"unparsable url":    {URL: "redis://user:secret@host:port:x/"},
		"database":          {URL: "redis://user:secret@host/secret"},
		"query":             {URL: "redis://user:secret@host?pool_size=3"},
		"unix socket":       {URL: "unix:///tmp/secret"},
		"mode":              {Mode: "ring"},
		"addresses":         {Addresses: []string{"a:1", "b:1"}},
		"sentinel":          {Mode: Sentinel},
		"cluster database":  {Mode: Cluster, URL: "redis://host/3"},
		"prefix with a tag": {Prefix: "a{b}"},
		"partitions":        {Mode: Cluster, Partitions: 5000},
		"probe timeout":     {ProbeTimeout: 20 * time.Second},
		"probe interval":    {ProbeInterval: 10 * time.Second},
	} {
		b, err := New(c)
		if err == nil {
			b.Close()
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}

func TestSettingsThatBreakAPromise(t *testing.T) {
	good := map[string]string{
		"maxmemory": "1000", "maxmemory-policy": "noeviction", "appendonly": "yes", "save": "",
		"client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 268435456 67108864 60",
	}
	for _, c := range []struct{ name, value, want string }{
		{"", "", ""},
		{"maxmemory-policy", "allkeys-lru", "maxmemory-policy"},
		{"appendonly", "no", "appendonly no, save empty"},
		{"client-output-buffer-limit", "pubsub 33554432 8388608 60", "client-output-buffer-limit"},
		{"client-output-buffer-limit", "pubsub 0 0 0", ""},
		{"client-output-buffer-limit", "pubsub junk", ""},
		{"min-replicas-to-write", "0", "min-replicas-to-write 0"},
		{"min-replicas-to-write", "1", ""},
	} {
		settings := make(map[string]string)
		for k, v := range good {
			settings[k] = v
		}
		settings[c.name] = c.value
		got := advice(settings)
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0].setting, c.want) || got[0].promise == "") {
			t.Errorf("%s %q: %+v", c.name, c.value, got)
		}
	}
	if got := advice(nil); len(got) != 0 {
		t.Errorf("where nothing is known: %+v", got)
	}
}

func TestTagsLieEvenlyOverTheSlots(t *testing.T) {
	if got := slot("123456789"); got != 0x31c3 {
		t.Errorf("slot %x", got) // the check value of CRC16/XMODEM, below 16384
	}
	for _, n := range []int{1, 3, 8, 64, 100} {
		for i, tag := range tags(n) {
			if at := slot(tag); at*n/slots != i {
				t.Errorf("%d partitions: %d is at slot %d", n, i, at)
			}
		}
	}
}

func TestRoomsSpreadOverPartitions(t *testing.T) {
	const partitions, rooms = 64, 64000
	var count [partitions]int
	for i := range rooms {
		count[hashOf("room:"+strings.Repeat("x", i%3)+time.Duration(i).String())%partitions]++
	}
	for i, n := range count {
		if n < rooms/partitions*8/10 || n > rooms/partitions*12/10 {
			t.Errorf("partition %d has %d of %d rooms", i, n, rooms)
		}
	}
}
