package config

import "testing"

func TestOrigins(t *testing.T) {
	for text, want := range map[string]string{
		"*": "*", "http://a": "http://a", "HTTPS://A.Example": "https://a.example", "https://a:443": "https://a",
		"http://a:80": "http://a", "http://a:443": "http://a:443", "http://[::1]:8080": "http://[::1]:8080", "app://x": "app://x",
		"http://[0:0::0:1]": "http://[::1]", "https://a.": "https://a.", "https://xn--bcher-kva.example": "https://xn--bcher-kva.example",
	} {
		if got, err := parseOrigin(text); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		"a.example", "a.example:80", "//a", "http://", "http://a/", "http://a/b", "http://a?b", "http://a#b", "http://u@a", "http://*.a",
		"http://a:x", "http://a:99999", "http://a:", "http://a:0", "http://a:080", "http://ä", "null", "http://a b", "http://a%62",
		"http://[fe80::1%25eth0]", "http://[1.2.3.4]", "http://a~b", "http://.a", "http://a,b", "https://\u212a",
	} {
		if got, err := parseOrigin(text); err == nil {
			t.Errorf("%q is taken for %q", text, got)
		}
	}
}

func TestNetworks(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.5": "10.0.0.5", "10.0.0.0/8": "10.0.0.0/8", "FD00:0::/8": "fd00::/8", "::1": "::1", "::ffff:10.0.0.5": "10.0.0.5",
		"0.0.0.0/0": "0.0.0.0/0", "::/0": "::/0", "10.0.0.5/32": "10.0.0.5/32",
	} {
		if got, err := parseNetwork(text); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "localhost", "10.0.0.0/33", "10.0.0.5/8", "10.0.0", "10.0.0.0/", "fe80::1%eth0", "fe80::%eth0/64", "::ffff:10.0.0.0/104", "10.0.0.1:80", "*",
	} {
		if got, err := parseNetwork(text); err == nil {
			t.Errorf("%q is taken for %q", text, got)
		}
	}
}
