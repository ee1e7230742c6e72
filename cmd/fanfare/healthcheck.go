package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/internal/config"
)

func healthcheckCommand() *cobra.Command {
	var url string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a gateway whether it takes traffic",
		Long: "Asks the /readyz of a gateway. Exit code 0 is ready; 1 is not, or no answer in time, with one line\n" +
			"that says why. For the health checks of containers that have no shell.",
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if url == "" {
				c, err := config.Load(cmd.Flags(), os.Environ())
				if err != nil {
					first, _, _ := strings.Cut(err.Error(), "\n")
					return &exitError{1, errors.New(first)}
				}
				if url, err = readyURL(c.Admin.Listen); err != nil {
					return err
				}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return checkReady(ctx, url)
		},
	}
	config.Flags(cmd.Flags(), "admin.listen")
	cmd.Flags().StringVar(&url, "url", "", "what to ask (default /readyz of admin.listen, http://127.0.0.1:9090/readyz)")
	cmd.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "for the whole answer")
	return cmd
}

// readyURL is the /readyz of a gateway on this machine that listens on address.
func readyURL(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if port == "0" {
		return "", errors.New("admin.listen leaves the port to the system, so --url must name it")
	}
	switch ip, err := netip.ParseAddr(host); {
	case host == "" || err == nil && ip.IsUnspecified() && ip.Is4():
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified():
		host = "::1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/readyz", nil
}

// checkReady returns nil where the answer is 200. It asks no proxy and follows
// no redirect.
func checkReady(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	response, err := new(http.Transport).RoundTrip(request)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("no answer in time")
		}
		return fmt.Errorf("not ready: GET %s: %w", url, err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(response.Body, 300))
	return fmt.Errorf("not ready: GET %s: %s %s", url, response.Status, strings.Join(strings.Fields(string(said)), " "))
}
