package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// revoker is what the command line of revoke says.
type revoker struct {
	url, keyFile string
	timeout      time.Duration
	body         struct {
		TokenID string `json:"jti,omitempty"`
		User    string `json:"user,omitempty"`
		Before  string `json:"before,omitempty"`
		Until   string `json:"until,omitempty"`
	}
}

func revokeCommand() *cobra.Command {
	r := &revoker{}
	cmd := &cobra.Command{
		Use:   "revoke (--jti ID | --user USER)",
		Short: "Make tokens invalid on every gateway",
		Long: `Asks a gateway to revoke one token by its id, or those of a user that were issued until now. Every gateway closes the
connections that they opened, with 4001, within 5 s. What is kept is printed as JSON.

Exit codes: 0 it is kept; 1 it is not: no answer in time, or it was refused; 2 the command line cannot be.`,
		Example: `  fanfare token revoke --jti 7c9e6679 --until 2026-02-01T00:00:00Z --api-key-file admin.key
  fanfare token revoke --user ada --api http://10.0.0.7:9090 --api-key-file admin.key`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			kept, err := r.revoke(cmd.Context())
			if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), kept)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.body.TokenID, "jti", "", "id of the token")
	flags.StringVar(&r.body.User, "user", "", "the user whose tokens are revoked")
	flags.StringVar(&r.body.Before, "before", "", "with --user: tokens issued until then, as RFC 3339 has times (default now)")
	flags.StringVar(&r.body.Until, "until", "", "when the revocation may be forgotten, as every token it is about has run out (default in ten years)")
	flags.StringVar(&r.url, "api", "http://127.0.0.1:9090", "admin address of any gateway, http or https")
	flags.StringVar(&r.keyFile, "api-key-file", "", "file with an API key that allows admin; none where the gateway runs with --dev")
	flags.DurationVar(&r.timeout, "timeout", 15*time.Second, "for the whole answer")
	return cmd
}

// revoke returns the revocation that is kept, as JSON.
func (r *revoker) revoke(ctx context.Context) (string, error) {
	if (r.body.TokenID == "") == (r.body.User == "") {
		return "", usageError(errors.New("give --jti or --user, one of them"))
	}
	target, err := neturl.Parse(r.url)
	if err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" {
		return "", usageError(errors.New("--api: want http://HOST:PORT or https://HOST:PORT"))
	}
	body, err := json.Marshal(r.body)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.JoinPath("/v1/revocations").String(), bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	if r.keyFile != "" {
		key, err := tokenOf(r.keyFile)
		if err != nil {
			return "", usageError(fmt.Errorf("--api-key-file: %w", err))
		}
		request.Header.Set("Authorization", "Bearer "+key)
	}
	return answered(request)
}

// answered returns the body of an answer of 200. It asks no proxy and follows no
// redirect: the key is for the gateway alone.
func answered(request *http.Request) (string, error) {
	response, err := new(http.Transport).RoundTrip(request)
	if err != nil {
		if request.Context().Err() != nil {
			err = errors.New("no answer in time")
		}
		return "", fmt.Errorf("%s %s: %w", request.Method, request.URL, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", request.Method, request.URL, err)
	}
	if response.StatusCode == http.StatusOK {
		return strings.TrimSpace(string(body)), nil
	}
	var problem struct{ Detail string }
	if json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		problem.Detail = "no gateway's answer"
	}
	return "", fmt.Errorf("%s %s: %s: %s", request.Method, request.URL, response.Status, problem.Detail)
}
