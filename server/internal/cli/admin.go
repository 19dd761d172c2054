package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/muster/muster/server/internal/audit"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/user"
)

func (p *program) admin() *cobra.Command {
	c := &cobra.Command{Use: "admin", Short: "Help an admin who cannot log in"}
	name := user.Admin
	reset := &cobra.Command{
		Use: "reset-password", Short: "Give a user a new password, print it, and end the user's sessions",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.resetPassword(cmd.Context(), name) },
	}
	p.configFlags(reset)
	reset.Flags().StringVar(&name, "username", user.Admin, "whose password")
	wrapArgs(reset)
	c.AddCommand(reset)
	return c
}

// resetPassword works beside a running server.
func (p *program) resetPassword(ctx context.Context, name string) (err error) {
	cfg, err := p.load()
	if err != nil {
		return err
	}
	log := p.logger(cfg)
	db, err := openExisting(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := db.Close(); err == nil {
			err = cerr
		}
	}()
	password, err := user.New(user.Options{DB: db, Log: log}).ResetPassword(ctx, name)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "user name  %s\npassword   %s\n", name, password)
	return audit.New(audit.Options{DB: db, Log: log, Now: store.Now}).System(ctx, "reset-password", name, nil)
}
