package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/muster/internal/client"
)

func (a *app) enrollmentTokenCommand() *cobra.Command {
	return group("enrollment-token", "Admit new devices", a.tokenCreateCommand(), a.tokenListCommand(), a.tokenRevokeCommand())
}

func (a *app) tokenCreateCommand() *cobra.Command {
	var in client.NewEnrollmentToken
	var groups []string
	var validFor time.Duration
	c := &cobra.Command{
		Use: "create", Short: "Make an enrollment string, shown once", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if validFor < time.Hour || validFor%time.Hour != 0 || in.MaxUses < 0 {
				return usage("--expires-in is in whole hours, and --max-uses not negative")
			}
			in.ExpiresInHours = int(validFor / time.Hour)
			api, err := a.connect()
			if err != nil {
				return err
			}
			for _, ref := range groups {
				g, err := findGroup(c.Context(), api, ref)
				if err != nil {
					return err
				}
				in.GroupIDs = append(in.GroupIDs, g.ID)
			}
			t, err := api.CreateEnrollmentToken(c.Context(), in)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(t)
			}
			a.note("Enroll a device with: muster-agent enroll STRING (valid until %s). The string is not shown again:", when(t.ExpiresAt))
			_, err = fmt.Fprintln(a.Out, clean(t.Enrollment))
			return err
		},
	}
	c.Flags().StringVar(&in.Name, "name", "command line", "what it is for")
	c.Flags().IntVar(&in.MaxUses, "max-uses", 0, "how many devices it admits; 0 is any number")
	c.Flags().DurationVar(&validFor, "expires-in", 7*24*time.Hour, "how long it admits devices")
	c.Flags().BoolVar(&in.NeedsApproval, "needs-approval", false, "each device waits for: muster device approve")
	c.Flags().StringArrayVar(&groups, "group", nil, "its devices join this list of devices, by `name` or id, repeatable")
	return c
}

func (a *app) tokenListCommand() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List enrollment tokens", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			items, err := api.EnrollmentTokens(c.Context(), limit)
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(items))
			for _, t := range items {
				uses := strconv.Itoa(t.Uses)
				if t.MaxUses > 0 {
					uses += " of " + strconv.Itoa(t.MaxUses)
				}
				rows = append(rows, []string{t.Name, tokenState(t, a.Now()), uses, yesNo(t.NeedsApproval), groupNames(t.Groups), when(t.ExpiresAt), t.ID})
			}
			return a.table(items, []string{"NAME", "STATE", "USES", "APPROVAL", "GROUPS", "EXPIRES", "ID"}, rows)
		},
	}
	limitFlag(c, &limit)
	return c
}

func groupNames(refs []client.GroupRef) string {
	names := make([]string, len(refs))
	for i, g := range refs {
		names[i] = g.Name
	}
	return strings.Join(names, ", ")
}

func tokenState(t client.EnrollmentToken, now time.Time) string {
	switch {
	case t.Revoked:
		return "revoked"
	case t.ExpiresAt != nil && t.ExpiresAt.Before(now):
		return "expired"
	case t.MaxUses > 0 && t.Uses >= t.MaxUses:
		return "used up"
	default:
		return "valid"
	}
}

func (a *app) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "End an enrollment token; devices that used it stay", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			if err := api.RevokeEnrollmentToken(c.Context(), argv[0]); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]string{"revoked": argv[0]})
			}
			a.say("revoked %s", argv[0])
			return nil
		},
	}
}

func (a *app) auditCommand() *cobra.Command {
	var limit int
	list := &cobra.Command{
		Use: "list", Short: "List what administrators did, newest first", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			items, err := api.Audit(c.Context(), limit)
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(items))
			for _, e := range items {
				rows = append(rows, []string{when(&e.Time), e.Actor, e.ActorKind, e.Operation, e.Target, strconv.Itoa(e.Status), e.RemoteIP})
			}
			return a.table(items, []string{"TIME", "WHO", "BY", "OPERATION", "TARGET", "STATUS", "FROM"}, rows)
		},
	}
	limitFlag(list, &limit)
	return group("audit", "Show who did what", list)
}
