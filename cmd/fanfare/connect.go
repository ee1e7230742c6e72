package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/fanfare-ws/fanfare/internal/client"
)

// target is which gateway a command that is a client connects to.
type target struct {
	url    string
	caFile string
}

func (g *target) flags(flags *pflag.FlagSet) {
	flags.StringVar(&g.url, "url", "http://127.0.0.1:8080", "the gateway: http, https, ws or wss; else "+urlVariable)
	flags.StringVar(&g.caFile, "ca-file", "", "certificates that sign the gateway's, PEM (default the system's)")
}

// tls is the configuration of TLS; nil is Go's own.
func (g *target) tls() (*tls.Config, error) {
	if g.caFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(g.caFile)
	if err != nil {
		return nil, usageError(fmt.Errorf("--ca-file: %w", err))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, usageError(fmt.Errorf("--ca-file: no certificates in %s: it takes PEM", g.caFile))
	}
	return &tls.Config{RootCAs: roots}, nil
}

// credentials are how a command that is a client gets its token.
type credentials struct {
	token, file string
}

// tokenVariable is where a token may stand in the environment.
const tokenVariable = "FANFARE_TOKEN"

func (c *credentials) flags(flags *pflag.FlagSet) {
	flags.StringVar(&c.file, "token-file", "", "file with the token, read anew for each connection; - is stdin")
	flags.StringVar(&c.token, "token", "", "the token; lists of processes show it, so rather --token-file, or "+tokenVariable)
}

// source returns what a client asks for its token; nil where there is none. The
// token of a file may have been replaced since the connection before.
func (c *credentials) source(stdin io.Reader) (func(context.Context) (string, error), error) {
	token := c.token
	switch {
	case c.token != "" && c.file != "":
		return nil, usageError(errors.New("--token and --token-file: give one of them"))
	case c.file == "-":
		read, err := tokenFrom(stdin)
		if err != nil {
			return nil, usageError(fmt.Errorf("--token-file: %w", err))
		}
		token = read
	case c.file != "":
		if _, err := tokenOf(c.file); err != nil {
			return nil, usageError(fmt.Errorf("--token-file: %w", err))
		}
		return func(context.Context) (string, error) { return tokenOf(c.file) }, nil
	case token == "":
		token = os.Getenv(tokenVariable)
	}
	if token == "" {
		return nil, nil
	}
	if err := usable(token); err != nil {
		return nil, usageError(err)
	}
	return func(context.Context) (string, error) { return token, nil }, nil
}

// usable tells whether a token can stand in a header.
func usable(token string) error {
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return errors.New("what should be the token has characters that no token has")
	}
	return nil
}

func tokenOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	token, err := tokenFrom(f)
	if err == nil {
		err = usable(token)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return token, nil
}

// clientError makes what the client found wrong with the command line end with
// exit code 2.
func clientError(err error) error {
	if errors.Is(err, client.ErrConfig) {
		return usageError(errors.New(clientText(err)))
	}
	return err
}

// clientText is an error of the client about its configuration, for those who do
// not know that there is one.
func clientText(err error) string {
	return strings.TrimPrefix(err.Error(), client.ErrConfig.Error()+": ")
}

// unreachable says, in one line, why there is no connection to url and what may
// help.
func unreachable(url string, err error) error {
	var noHost *net.DNSError
	var refused *client.RefusedError
	var closed *client.CloseError
	var unknown x509.UnknownAuthorityError
	var what, hint string
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		what, hint = "connection refused", "nothing listens there: is a gateway running? fanfare serve"
	case errors.As(err, &noHost):
		what, hint = "no such host", "is --url right?"
	case errors.As(err, &refused):
		what = refused.Error()
		if refused.Status == http.StatusNotFound {
			hint = "is that the address of a gateway, and not its admin address?"
		}
	case errors.As(err, &closed):
		what = closed.Error()
	case errors.As(err, &unknown):
		what, hint = unknown.Error(), "is there a --ca-file for it?"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		what, hint = "no answer in time", "is that the address of a gateway?"
	default:
		what = innermost(err).Error()
	}
	if hint != "" {
		what += "; " + hint
	}
	return fmt.Errorf("%s: %s", shown(url), strings.TrimSpace(what))
}

// link follows how a publisher's connection fares.
type link struct {
	url string

	mu    sync.Mutex
	state client.State // the newest that is no attempt
	told  bool
}

// event is a client's OnEvent.
func (l *link) event(e client.Event) {
	s, ok := e.(client.State)
	if !ok || s.Status == client.Connecting {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
	if s.Status == client.Disconnected && !s.Final && !l.told && isTerminal(os.Stderr) {
		// Who waits at a terminal wants to know what for; a script gets the one
		// line at the end.
		l.told = true
		note("%v (trying again)", unreachable(l.url, s.Err))
	}
}

func (l *link) last() client.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// innermost is the error that all others of a chain only put into words.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// shown is the part of a URL that may be printed: its query may hold a token,
// and its user a password.
func shown(url string) string {
	u, err := neturl.Parse(url)
	if err != nil {
		return "--url"
	}
	return (&neturl.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// note tells people something on the way, in one line.
func note(format string, args ...any) {
	fmt.Fprintln(os.Stderr, harmless("fanfare: "+fmt.Sprintf(format, args...)))
}
