package cli

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/muster/internal/client"
)

func (a *app) packageCommand() *cobra.Command {
	return group("package", "Make, sign and manage packages",
		a.createCommand(), a.signCommand(), a.packageListCommand(), a.packageShowCommand(), a.packageDeleteCommand(),
		a.packageStep("activate", "Make a signed package offerable to devices", []string{"draft"}, (*client.Client).ActivatePackage),
		a.packageStep("retire", "Stop offering a package", []string{"active"}, (*client.Client).RetirePackage))
}

func (a *app) packageListCommand() *cobra.Command {
	var q, state string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List packages", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			items, err := api.Packages(c.Context(), url.Values{"q": {q}, "state": {state}}, limit)
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(items))
			for _, p := range items {
				rows = append(rows, []string{p.Name, p.Version, p.State, signature(p), priority(p), string(p.Action), archiveSize(p), deployments(p), p.ID})
			}
			return a.table(items, []string{"NAME", "VERSION", "STATE", "SIGNED", "PRIORITY", "ACTION", "SIZE", "DEPLOYMENTS", "ID"}, rows)
		},
	}
	c.Flags().StringVar(&q, "search", "", "only names that contain `text`")
	c.Flags().StringVar(&state, "state", "", "only draft, active or retired")
	limitFlag(c, &limit)
	return c
}

func (a *app) packageShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show PACKAGE", Short: "Show a package, by id, name or name@version", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			p, err := findPackage(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			return a.showPackage(p)
		},
	}
}

func (a *app) packageStep(name, short string, states []string, step func(*client.Client, context.Context, string) (client.Package, error)) *cobra.Command {
	return &cobra.Command{
		Use: name + " PACKAGE", Short: short, Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			p, err := findPackage(c.Context(), api, argv[0], states...)
			if err != nil {
				return err
			}
			if p, err = step(api, c.Context(), p.ID); err != nil {
				return err
			}
			return a.showPackage(p)
		},
	}
}

func (a *app) packageDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete PACKAGE", Short: "Delete a draft", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			p, err := findPackage(c.Context(), api, argv[0], "draft")
			if err != nil {
				return err
			}
			if err := api.DeletePackage(c.Context(), p.ID); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]string{"deleted": p.ID})
			}
			a.say("deleted %s %s", p.Name, p.Version)
			return nil
		},
	}
}

func (a *app) showPackage(p client.Package) error {
	fields := []field{
		{"Package", p.Name + " " + p.Version}, {"Id", p.ID}, {"State", p.State}, {"Priority", priority(p)},
		{"Action", string(p.Action)}, {"Command", quoteArgs(p.Command)}, {"Store under", p.StorePath},
		{"Signed", signature(p)}, {"Signed by", strings.Join(p.SignedBy, ", ")}, {"Expires", when(p.ExpiresAt)},
	}
	if p.Archive != nil {
		fields = append(fields, field{"Archive", p.Archive.Format + ", " + size(p.Archive.Size)}, field{"SHA-256", p.Archive.SHA256})
	}
	fields = append(fields, field{"Created", fmt.Sprintf("%s by %s", when(&p.CreatedAt), p.CreatedBy)},
		field{"Activated", when(p.ActivatedAt)}, field{"Retired", when(p.RetiredAt)}, field{"Deployments", deployments(p)})
	return a.details(p, fields)
}

// signature says how a package is signed, in a word or two.
func signature(p client.Package) string {
	switch {
	case p.Refusal == "revoked":
		return "revoked"
	case p.Partial != nil && p.Signed && p.Refusal == "":
		return fmt.Sprintf("yes; again: %d of %d signatures", len(p.Partial.SignedBy), p.Partial.Needed)
	case p.Partial != nil:
		return fmt.Sprintf("%d of %d signatures", len(p.Partial.SignedBy), p.Partial.Needed)
	case p.Refusal != "":
		return "not by keys that devices trust: sign again"
	default:
		return yesNo(p.Signed)
	}
}

func priority(p client.Package) string {
	if p.Priority == nil {
		return ""
	}
	return strconv.Itoa(*p.Priority)
}

func archiveSize(p client.Package) string {
	if p.Archive == nil {
		return "-"
	}
	return size(p.Archive.Size)
}

func deployments(p client.Package) string {
	d := p.Deployments
	if d.Total == 0 {
		return "none"
	}
	return fmt.Sprintf("%d: %d succeeded, %d failed, %d open", d.Total, d.Succeeded, d.Failed, d.Open)
}

func limitFlag(c *cobra.Command, limit *int) {
	c.Flags().IntVar(limit, "limit", 200, "at most so many; 0 is all")
}
