package cli

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
	"github.com/muster/muster/packages/trust"
)

func (a *app) trustCommand() *cobra.Command {
	c := group("trust", "Show and decide whom devices trust",
		a.trustShowCommand(), a.trustDevicesCommand(), a.trustAddCommand(), a.trustRemoveCommand(), a.trustReplaceCommand(),
		a.trustThresholdCommand(), a.trustRevokeCommand(), a.rotateRootCommand(), a.takeOverCommand(), a.trustSignCommand(), a.trustPublishCommand())
	c.Long = `Show and decide whom devices trust.

Every change is the next version of one document, signed by the root keys. It is made here, shown, and
signed with --root FILE, or by the server as long as it holds the root key. When several roots must sign
and their keys are in different places: write it with --out FILE, sign it there with "muster trust sign",
and publish it with "muster trust publish".`
	return c
}

func (a *app) trustShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show whom devices trust", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			t, err := api.Trust(c.Context())
			if err != nil {
				return err
			}
			return a.showTrust(t)
		},
	}
}

func (a *app) showTrust(t client.Trust) error {
	if a.json {
		return a.printJSON(t)
	}
	revoked := ""
	if len(t.Revoked) > 0 {
		revoked = strconv.Itoa(len(t.Revoked)) + " (see --json)"
	}
	err := a.fields([]field{
		{"Trust document", "version " + strconv.Itoa(t.Version) + ", " + when(t.IssuedAt)}, {"Root key", t.RootFingerprint},
		{"Revoked", revoked}, {"Devices", followers(t)},
	})
	if err != nil {
		return err
	}
	a.say("%s", powers(t))
	rows := make([][]string, 0, len(t.Keys))
	for _, k := range t.Keys {
		rows = append(rows, []string{k.ID, strings.Join(k.Roles, ", "), needed(k.Roles, t.Thresholds), when(k.AddedAt)})
	}
	return a.table(t.Keys, []string{"KEY", "ROLES", "NEEDED", "SINCE"}, rows)
}

// needed says how many keys of each role must sign.
func needed(roles []string, thresholds map[string]int) string {
	out := make([]string, len(roles))
	for i, r := range roles {
		out[i] = strconv.Itoa(max(thresholds[r], 1))
	}
	return strings.Join(out, ", ")
}

// powers says what the server can sign by itself.
func powers(t client.Trust) string {
	switch {
	case t.ServerCanSign:
		return "This server can sign: whoever takes it over can run software on its devices."
	case t.RootOnServer:
		return "This server cannot sign packages, but it holds a root key: whoever takes it over can change whom devices trust."
	default:
		return "This server cannot sign: devices run only what an author signed."
	}
}

func followers(t client.Trust) string {
	if t.Devices.Total == 0 {
		return ""
	}
	out := fmt.Sprintf("%d of %d have confirmed this document", t.Devices.Total-t.Devices.Behind-t.Devices.Ahead, t.Devices.Total)
	if t.Devices.Ahead > 0 {
		out += fmt.Sprintf("; %d know a newer one: was this server restored from an old backup? (muster trust publish)", t.Devices.Ahead)
	}
	return out
}

func (a *app) trustDevicesCommand() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "devices", Short: "List devices that have not confirmed the present trust document", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			t, err := api.Trust(c.Context())
			if err != nil {
				return err
			}
			items, err := unconfirmed(c.Context(), api, t.Version, limit)
			if err != nil {
				return err
			}
			return a.showUnconfirmed(items)
		},
	}
	limitFlag(c, &limit)
	return c
}

func unconfirmed(ctx context.Context, api *client.Client, version, limit int) ([]client.Device, error) {
	return api.Devices(ctx, url.Values{"trust_below": {strconv.Itoa(version)}}, limit)
}

func (a *app) showUnconfirmed(items []client.Device) error {
	rows := make([][]string, 0, len(items))
	for _, d := range items {
		rows = append(rows, []string{d.Hostname, strconv.Itoa(d.TrustVersion), yesNo(d.Connected), when(d.LastSeenAt), d.ID})
	}
	return a.table(items, []string{"DEVICE", "CONFIRMED", "CONNECTED", "LAST SEEN", "ID"}, rows)
}

// findKey finds a key of the document by its id or by the beginning of it.
func findKey(d *trust.Document, ref string) (trust.Key, error) {
	const least = 8
	var found []trust.Key
	for _, k := range d.Keys {
		if len(ref) >= least && strings.HasPrefix(k.ID, strings.ToLower(ref)) {
			found = append(found, k)
		}
	}
	switch {
	case len(ref) < least:
		return trust.Key{}, usage("%q is too short for a key id: give at least its first %d digits", ref, least)
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return trust.Key{}, fault.New(fault.Conflict, "%q begins the ids of %d keys: give more of it", ref, len(found))
	default:
		return trust.Key{}, fault.New(fault.NotFound, "trust document %d has no key %q; see: muster trust show", d.Version, ref)
	}
}

// rolesOf checks the names of roles that a person may give.
func rolesOf(words []string) ([]trust.Role, error) {
	roles := make([]trust.Role, 0, len(words))
	for _, w := range words {
		r := trust.Role(w)
		if !slices.Contains([]trust.Role{trust.RoleAuthor, trust.RoleRelease, trust.RoleRoot}, r) {
			return nil, usage("%q is no role for a key: say author (packages), release (agent releases) or root (trust documents)", w)
		}
		if !slices.Contains(roles, r) {
			roles = append(roles, r)
		}
	}
	return roles, nil
}
