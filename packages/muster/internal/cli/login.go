package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/certificate"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
)

// maxPassword bounds a password file, in bytes.
const maxPassword = 4 << 10

type loginFlags struct {
	username, passwordFile, fingerprint string
	days                                int
}

func (a *app) loginCommand() *cobra.Command {
	var f loginFlags
	c := &cobra.Command{
		Use:   "login URL",
		Short: "Log in to a server and keep an API token for it",
		Long: `Log in to a server and keep an API token for it in the configuration file.

The server's own CA is pinned: give its fingerprint, which the server prints at its first start and
shows in its settings, with --ca-fingerprint, or its certificate with --ca-file. Without either a
terminal is asked to compare the fingerprint.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error { return a.login(c.Context(), argv[0], f) },
	}
	c.Flags().StringVar(&f.username, "username", "", "user `name`")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "`file` that holds the password, - for standard input")
	c.Flags().StringVar(&f.fingerprint, "ca-fingerprint", "", "SHA-256 of the server's CA certificate, `hex`")
	c.Flags().IntVar(&f.days, "expires-in-days", 0, "life of the API token; 0 leaves it to the server")
	return c
}

func (a *app) login(ctx context.Context, server string, f loginFlags) error {
	base, err := client.ParseServer(server)
	if err != nil {
		return usageError{err}
	}
	ca, err := a.pin(ctx, base.String(), base.Scheme, f.fingerprint)
	if err != nil {
		return err
	}
	username, password, err := a.credentials(f)
	if err != nil {
		return err
	}
	api, err := client.New(client.Options{URL: base.String(), CA: ca})
	if err != nil {
		return err
	}
	me, err := api.Login(ctx, username, password)
	if fault.Is(err, fault.Unauthenticated) {
		return fault.Wrap(err, fault.Forbidden, "cannot log in as %s", username)
	}
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host" // only a label
	}
	token, err := api.CreateAPIToken(ctx, "muster on "+host, f.days)
	if err != nil {
		return fmt.Errorf("create API token: %w", err)
	}
	c := config{Server: base.String(), Username: me.Username, Token: token.Token, TokenID: token.ID, CA: string(ca)}
	if err := a.saveConfig(c); err != nil {
		return err
	}
	if err := api.Logout(ctx); err != nil {
		a.note("muster: the login session could not be ended, it ends by itself: %s", sentence(err))
	}
	if a.json {
		return a.printJSON(map[string]string{"server": c.Server, "username": c.Username, "token_id": c.TokenID})
	}
	a.say("logged in to %s as %s", c.Server, c.Username)
	return nil
}

// pin decides which CA to trust for the server: nil is the system's authorities.
func (a *app) pin(ctx context.Context, server, scheme, fingerprint string) ([]byte, error) {
	if scheme == "http" {
		return nil, nil
	}
	if file := first(a.caFile, a.Getenv("MUSTER_CA")); file != "" && fingerprint == "" {
		return readCA(file)
	}
	if fingerprint != "" {
		plain, err := client.ParseFingerprint(fingerprint)
		if err != nil {
			return nil, usageError{err}
		}
		cert, err := client.Authority(ctx, server, plain)
		if err != nil {
			return nil, err
		}
		return certificate.EncodePEM(cert), nil
	}
	// The CA that was pinned at an earlier login stays pinned.
	if saved, err := a.loadConfig(); err == nil && saved.Server == server && saved.CA != "" {
		return []byte(saved.CA), nil
	}
	return a.askForAuthority(ctx, server)
}

func (a *app) askForAuthority(ctx context.Context, server string) ([]byte, error) {
	api, err := client.New(client.Options{URL: server})
	if err != nil {
		return nil, err
	}
	var cert *client.CertificateError
	_, err = api.Me(ctx)
	if !errors.As(err, &cert) || !cert.UnknownAuthority {
		var unreachable *client.UnreachableError
		if errors.As(err, &cert) || errors.As(err, &unreachable) {
			return nil, err
		}
		return nil, nil // a public certificate, verified; the answer itself does not matter here
	}
	ca, err := client.Authority(ctx, server, "")
	if err != nil {
		return nil, err
	}
	print := certificate.Fingerprint(ca)
	if !a.Terminal {
		return nil, &client.CertificateError{Server: server, UnknownAuthority: true, Err: cert.Err}
	}
	a.note("The server has its own CA, %q, with the SHA-256 fingerprint", ca.Subject.CommonName)
	a.note("  %s", print)
	a.note("Compare it with the one that the server printed at its first start.")
	if err := a.confirm("Is it the same?", false); err != nil {
		return nil, err
	}
	return certificate.EncodePEM(ca), nil
}

func (a *app) credentials(f loginFlags) (username, password string, err error) {
	if f.username == "" {
		return "", "", usage("say who you are: --username NAME")
	}
	switch {
	case f.passwordFile != "":
		password, err = a.readPasswordFile(f.passwordFile)
	case a.Terminal:
		fmt.Fprintf(a.Err, "Password of %s: ", clean(f.username))
		password, err = a.ReadPassword()
		fmt.Fprintln(a.Err)
	default:
		err = usage("no terminal to ask for the password: say --password-file FILE, or - for standard input")
	}
	if err != nil {
		return "", "", err
	}
	if password == "" {
		return "", "", usage("the password is empty")
	}
	return f.username, password, nil
}

func (a *app) readPasswordFile(name string) (string, error) {
	in := a.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("open password file: %w", err)
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxPassword))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Delete the API token, here and on the server", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			saved, err := a.loadConfig()
			if err != nil {
				return err
			}
			if saved.Token == "" {
				a.say("not logged in")
				return nil
			}
			api, err := client.New(client.Options{URL: saved.Server, Token: saved.Token, CA: []byte(saved.CA)})
			if err != nil {
				return err
			}
			err = api.DeleteAPIToken(c.Context(), saved.TokenID)
			// A token that the server no longer knows is as good as deleted.
			if err != nil && !fault.Is(err, fault.Unauthenticated) && !fault.Is(err, fault.NotFound) {
				return fmt.Errorf("delete API token: %w", err)
			}
			// Server and CA stay: the next login goes to the same server.
			saved.Token, saved.TokenID = "", ""
			if err := a.saveConfig(saved); err != nil {
				return err
			}
			a.say("logged out of %s", saved.Server)
			return nil
		},
	}
}

func (a *app) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Show who is logged in, and to which server", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			me, err := api.Me(c.Context())
			if err != nil {
				return err
			}
			info, err := api.Info(c.Context())
			if err != nil {
				return err
			}
			out := struct {
				client.Me
				Server string            `json:"server"`
				Info   client.ServerInfo `json:"info"`
			}{me, api.Server(), info}
			return a.details(out, []field{
				{"User", me.Username}, {"Identified by", me.Kind}, {"Server", api.Server()}, {"Name", info.Name},
				{"Version", info.Version}, {"CA fingerprint", info.CAFingerprint}, {"Root key", info.RootFingerprint},
				{"Server can sign", yesNo(info.ServerCanSign)},
			})
		},
	}
}
