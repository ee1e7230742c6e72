package config

import (
	"testing"
	"time"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "7B": 7, "64KiB": 65536, "1MiB": 1 << 20, "16MiB": 16 << 20, "2GiB": 2 << 30, "1024TiB": 1 << 50, "1000": 1000,
	} {
		if got, ok := parseSize(text); !ok || got != want {
			t.Errorf("%s = %d, %v, want %d", text, got, ok, want)
		}
		if got, ok := parseSize(formatSize(want)); !ok || got != want {
			t.Errorf("%d is written %s, which is %d", want, formatSize(want), got)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "+1", "1KB", "1kib", "1.5MiB", "1 KiB", "1025TiB", "9223372036854775807", "9007199254740993KiB", "0x10", "1_000"} {
		if got, ok := parseSize(text); ok {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
	if got := formatSize(3 << 19); got != "1536KiB" {
		t.Errorf("1.5 MiB is written %s", got)
	}
}

func TestDurationsAreWrittenShort(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "25s": 25 * time.Second, "2m": 2 * time.Minute, "1h": time.Hour, "1h30m": 90 * time.Minute, "1m30s": 90 * time.Second,
		"10m": 10 * time.Minute, "1h0m1s": time.Hour + time.Second, "10ms": 10 * time.Millisecond,
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
		if back, err := time.ParseDuration(formatDuration(d)); err != nil || back != d {
			t.Errorf("%v becomes %v, %v", d, back, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, text := range []string{":0", ":8080", "127.0.0.1:1", "[::1]:65535", "localhost:80", "[fe80::1%eth0]:80"} {
		if _, ok := parseAddress(text); !ok {
			t.Errorf("%q is refused", text)
		}
	}
	for _, text := range []string{"", "8080", ":", ":65536", ":-1", ":http", "::1:80", "a b:80", "http://a:80", "a:80/", "a"} {
		if _, ok := parseAddress(text); ok {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"listen", "loops", "limits.message_bytes", "heartbeat.interval"}
	for name, want := range map[string]string{
		"lisen": "listen", "loop": "loops", "message_bytes": "limits.message_bytes", "heartbeat.intervals": "heartbeat.interval",
		"redis.url": "", "xyzzy": "", "bytes": "",
	} {
		if got := Nearest(name, names); got != want {
			t.Errorf("nearest to %q is %q, want %q", name, got, want)
		}
	}
}
