package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/config"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Sign, check, look into or revoke a token",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(signCommand(), tokenCheckCommand(), inspectCommand(), revokeCommand())
	return cmd
}

// tokenSigner is what the command line of sign says.
type tokenSigner struct {
	secretFile, keyFile string
	claims              auth.Claims
	kid                 string
	rooms               []string
	ttl                 time.Duration
}

func signCommand() *cobra.Command {
	s := &tokenSigner{}
	cmd := &cobra.Command{
		Use:   "sign --sub USER (--secret-file FILE | --key FILE)",
		Short: "Sign a token and print it",
		Long: `Signs a token with a secret (HS256) or a private key in PEM (RSA: RS256, P-256: ES256, Ed25519: EdDSA) and prints
the token alone. It is for trying things out and for scripts; a service that lets people in signs with its own library.

Without --room the token has no rooms claim, and may do what each room's class allows to anyone. With it the token may
do what is listed for the longest pattern that matches, and nothing else: * stands for any run of characters; verbs are
join, publish, history and members; none (--room 'PATTERN=') shuts the rooms.

Exit codes: 0; 1 the file cannot be used; 2 the command line cannot be.`,
		Example: `  openssl rand -base64 48 > secret
  fanfare token sign --secret-file secret --sub ada
  fanfare token sign --secret-file secret --sub ada --room 'lobby=join,publish' --room 'news:*=join' --ttl 15m
  fanfare token sign --key private.pem --kid 2026 --sub ada --iss https://login.example.com --aud chat`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, err := s.sign(time.Now())
			if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.secretFile, "secret-file", "", "file with the secret, 32 bytes or more; a newline at the end is not part of it")
	flags.StringVar(&s.keyFile, "key", "", "file with the private key, PEM")
	flags.StringVar(&s.claims.Subject, "sub", "", "the user: 1 to 64 letters, digits and _ - . @")
	flags.StringArrayVar(&s.rooms, "room", nil, "PATTERN=VERB,VERB: what may be done in which rooms; may stand several times")
	flags.DurationVar(&s.ttl, "ttl", time.Hour, "time for which the token is good; 0 is for ever, where auth.require_exp is off")
	flags.StringArrayVar(&s.claims.Audience, "aud", nil, "audience; may stand several times")
	flags.StringVar(&s.claims.Issuer, "iss", "", "issuer")
	flags.StringVar(&s.kid, "kid", "", "id of the key, for the header")
	flags.StringVar(&s.claims.TokenID, "jti", "", "id of the token, by which it can be revoked")
	return cmd
}

func (s *tokenSigner) sign(now time.Time) (string, error) {
	switch {
	case (s.secretFile == "") == (s.keyFile == ""):
		return "", usageError(errors.New("give --secret-file or --key, one of them"))
	case s.claims.Subject == "":
		return "", usageError(errors.New("--sub: a token needs a user"))
	case s.ttl < 0 || s.ttl > 0 && s.ttl < time.Second:
		return "", usageError(errors.New("--ttl: want 1s or more, or 0"))
	}
	c := s.claims
	for _, text := range s.rooms {
		if err := addRoom(&c, text); err != nil {
			return "", usageError(fmt.Errorf("--room: %w", err))
		}
	}
	c.Issued = now
	if s.ttl > 0 {
		c.Expires = now.Add(s.ttl)
	}
	load, file := auth.SecretSigner, s.secretFile
	if s.keyFile != "" {
		load, file = auth.KeySigner, s.keyFile
	}
	signer, err := load(file)
	if err != nil {
		return "", err
	}
	signer.KeyID = s.kid
	token, err := signer.Sign(c)
	if err != nil {
		return "", usageError(err)
	}
	return token, nil
}

// addRoom reads PATTERN=VERB,VERB.
func addRoom(c *auth.Claims, text string) error {
	pattern, list, ok := strings.Cut(text, "=")
	if !ok || pattern == "" {
		return fmt.Errorf("%q: want PATTERN=VERB,VERB, such as 'news:*=join,history'", text)
	}
	if _, twice := c.Rooms[pattern]; twice {
		return fmt.Errorf("%q stands twice", pattern)
	}
	verbs := []string{}
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if _, err := auth.ParseVerb(name); err != nil {
			return fmt.Errorf("%s: %w", pattern, err)
		}
		verbs = append(verbs, name)
	}
	if c.Rooms == nil {
		c.Rooms = make(map[string][]string)
	}
	c.Rooms[pattern] = verbs
	return nil
}

// tokenKeys are the keys of the configuration that say whether a token is good.
var tokenKeys = []string{
	"auth.hs256_secret_file", "auth.public_key_files", "auth.jwks_file", "auth.jwks_url",
	"auth.issuer", "auth.audience", "auth.leeway", "auth.require_exp",
}

func tokenCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [TOKEN|-]",
		Short: "Tell whether a gateway would take a token, and what it allows",
		Long: `Verifies a token by the configuration that serve reads, from flags, FANFARE_* and the file, and prints whose it is,
until when it is good, and what it allows. Without TOKEN, or with -, it is read from stdin, where no list of processes
shows it. Whether it was revoked only the gateways know.

Exit codes: 0 it verifies; 1 it does not, and why; 2 the command line or the configuration cannot be.`,
		Example: `  fanfare token check --auth-hs256-secret-file secret < token
  fanfare token sign --secret-file secret --sub ada | fanfare token check --config fanfare.yaml`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			return checkToken(cmd, c, args)
		},
	}
	config.Flags(cmd.Flags(), tokenKeys...)
	return cmd
}

func checkToken(cmd *cobra.Command, c *config.Config, args []string) error {
	log := newLogger(c, c.Log.Level) // says why keys could not be fetched
	v, err := newVerifier(c, nil, nil, log)
	if err != nil {
		return usageError(err)
	}
	if v == nil {
		return usageError(errors.New("no key to verify with: give --auth-hs256-secret-file, --auth-public-key-files, --auth-jwks-file or" +
			" --auth-jwks-url, or the --config of the gateway"))
	}
	v.Start()
	defer v.Close()
	token, err := readToken(cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 15*time.Second)
	defer cancel()
	v.Await(ctx)
	id, err := v.Verify(token)
	if reason, refused := auth.RefusalOf(err); refused {
		return fmt.Errorf("%w: %s: %s", err, reason, refusals[reason])
	}
	_, err = io.WriteString(cmd.OutOrStdout(), describeIdentity(id, time.Now()))
	return err
}

// refusals explain why a token does not verify.
var refusals = map[metrics.TokenRefusal]string{
	metrics.TokenTooLong:    fmt.Sprintf("more than %d bytes", auth.MaxToken),
	metrics.TokenMalformed:  "not HEADER.CLAIMS.SIGNATURE in base64url, with a JSON object as header and no crit in it",
	metrics.TokenAlgorithm:  "no configured key is for its alg",
	metrics.TokenUnknownKey: "no configured key has its kid",
	metrics.TokenSignature:  "another key signed it, or it was changed since",
	metrics.TokenExpired:    "exp is past",
	metrics.TokenNotYet:     "nbf or iat is ahead",
	metrics.TokenIssuer:     "iss is none of auth.issuer",
	metrics.TokenAudience:   "aud has none of auth.audience",
	metrics.TokenClaims:     "sub or exp is missing, or a claim is not what it should be (fanfare token inspect shows them)",
	metrics.TokenRevoked:    "it was revoked",
}

// describeIdentity is what check prints.
func describeIdentity(id *auth.Identity, now time.Time) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s "+format+"\n", append([]any{name}, args...)...)
	}
	line("user", "%s", id.User)
	if id.TokenID != "" {
		line("id", "%q", id.TokenID)
	}
	if !id.Issued.IsZero() {
		line("issued", "%s", id.Issued.UTC().Format(time.RFC3339))
	}
	if id.Expires.IsZero() {
		line("expires", "never")
	} else {
		line("expires", "%s (in %s)", id.Expires.UTC().Format(time.RFC3339), id.Expires.Sub(now).Round(time.Second))
	}
	switch {
	case id.Grants == nil:
		line("rooms", "whatever a room's class allows to anyone")
	case len(id.Grants) == 0:
		line("rooms", "none")
	}
	for _, g := range id.Grants {
		verbs := strings.Join(g.Verbs.Names(), ", ")
		if verbs == "" {
			verbs = "nothing"
		}
		line("rooms", "%q: %s", g.Pattern, verbs)
	}
	return b.String()
}

func inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect [TOKEN|-]",
		Short: "Print what a token says, without verifying it",
		Long: `Prints a token's header and claims as JSON, and says on stderr that nothing was verified: anybody may have written
them. Without TOKEN, or with -, it is read from stdin.

Exit codes: 0; 1 it is no token; 2 the command line cannot be.`,
		Example: `  fanfare token inspect < token
  fanfare token inspect < token | jq .claims.exp`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := readToken(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			header, claims, err := auth.Inspect(token)
			if err != nil {
				reason, _ := auth.RefusalOf(err)
				return fmt.Errorf("no token: %s: %s", reason, refusals[reason])
			}
			note("not verified: anybody may have written this")
			var out bytes.Buffer
			text := fmt.Appendf(nil, `{"header":%s,"claims":%s}`, header, claims)
			if err := json.Indent(&out, text, "", "  "); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), out.String())
			return err
		},
	}
}

// readToken takes a token from the command line or from stdin.
func readToken(stdin io.Reader, args []string) (string, error) {
	if len(args) == 1 && args[0] != "-" {
		return args[0], nil
	}
	return tokenFrom(stdin)
}

// tokenFrom reads a token with space around it, no further than one can be long.
func tokenFrom(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, 2*auth.MaxToken))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", errors.New("no token: there is nothing to read")
	}
	return token, nil
}
