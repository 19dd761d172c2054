package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/buildinfo"
	"github.com/muster/muster/server/internal/user"
)

// stopWithin is how long requests may finish when the server is told to stop.
const stopWithin = 20 * time.Second

func (p *program) serve() *cobra.Command {
	var passwordFile string
	c := &cobra.Command{
		Use: "serve", Short: "Run the server",
		Long: "Run the server. Without any configuration it makes its data directory, database, keys and first\n" +
			"admin, whose password it prints once, and serves agents and browsers on :8443 and the browser on\n" +
			"this computer on http://localhost:8080.",
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runServe(cmd.Context(), passwordFile) },
	}
	p.configFlags(c)
	f := c.Flags()
	f.StringVar(&p.flags.Listen, "listen", "", "TLS address for agents and browsers (default :8443)")
	f.StringVar(&p.flags.HTTP, "http", "", `plain address for the browser on this computer, loopback only, "" for none (default localhost:8080)`)
	f.StringVar(&p.flags.Metrics, "metrics", "", "plain address of /metrics (default none)")
	f.StringVar(&p.flags.Name, "name", "", "what this server calls itself (default the host name)")
	f.StringArrayVar(&p.flags.PublicURLs, "public-url", nil, "https address by which agents reach this server; may be repeated")
	f.StringVar(&p.flags.Log.Level, "log-level", "", "debug, info, warn or error (default info)")
	f.StringVar(&p.flags.Log.Format, "log-format", "", "text or json (default text)")
	f.StringVar(&passwordFile, "admin-password-file", "", "also write the first admin's password to this file")
	return c
}

func (p *program) runServe(ctx context.Context, passwordFile string) error {
	cfg, err := p.load()
	if err != nil {
		return err
	}
	log := p.logger(cfg)
	s, err := Start(ctx, Options{Config: cfg, Log: log, Announce: func(password string) error { return p.announce(password, passwordFile) }})
	if err != nil {
		return err
	}
	log.Info("serving", "version", buildinfo.Version, "https", s.Addr().String(), "http", s.LocalAddr(), "metrics", s.MetricsAddr(),
		"database", s.DB.Dialect, "ca_fingerprint", s.CA.Fingerprint())
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err = <-s.Failed():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	if cerr := s.Close(stop); err == nil {
		err = cerr
	}
	return err
}

// announce tells the first admin's password, this once.
func (p *program) announce(password, file string) error {
	fmt.Fprintf(p.out, "\nFirst start. Log in as\n\n  user name  %s\n  password   %s\n\nThe password is not shown again; change it in the web page.\n\n", user.Admin, password)
	if file == "" {
		return nil
	}
	if err := atomicfile.Write(file, []byte(password+"\n"), 0o600); err != nil {
		return fmt.Errorf("write password file (the password stands above): %w", err)
	}
	return nil
}
