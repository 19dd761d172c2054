package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/packages/trust"
)

func (a *app) releaseCommand() *cobra.Command {
	return group("release", "Make, sign and manage releases of the agent",
		a.releaseCreateCommand(), a.releaseListCommand(),
		a.releaseStep("show", "Show a release, by id or version", (*client.Client).Release),
		a.releaseStep("retire", "Offer a release to nobody any more, and end open updates to it", (*client.Client).RetireRelease))
}

type releaseFlags struct {
	version    string
	builds     []string
	downgrades []string
	notes      string
	keys       []string
	days       int
	yes        bool
}

func (a *app) releaseCreateCommand() *cobra.Command {
	var f releaseFlags
	c := &cobra.Command{
		Use:   "create --version VERSION --build OS/ARCH=FILE… --key FILE…",
		Short: "Sign programs as a release of the agent, and bring it to the server",
		Long: `Sign programs as a release of the agent, and bring it to the server.

Each --build names the agent's program for one platform, as Go calls it (linux/amd64, windows/arm64). The
programs are packed, shown, and signed on this computer, with keys that devices trust for releases (muster
trust add PUBLIC_KEY --role release); the server never signs a release. Devices go to a higher version only:
--downgrade-from allows, as a part of what is signed, to come down from a version that turned out bad.`,
		Example: `  muster release create --version 1.1.0 --build linux/amd64=bin/muster-agent --key release.pem`,
		Args:    args(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return a.createRelease(c.Context(), f) },
	}
	c.Flags().StringVar(&f.version, "version", "", "of the programs: MAJOR.MINOR.PATCH, as they report it themselves")
	c.Flags().StringArrayVar(&f.builds, "build", nil, "`OS/ARCH=FILE`, repeatable")
	c.Flags().StringArrayVar(&f.downgrades, "downgrade-from", nil, "higher `version` that may go down to this one, repeatable")
	c.Flags().StringVar(&f.notes, "notes", "", "`text` for people")
	c.Flags().StringArrayVar(&f.keys, "key", nil, "`file` of a private key that signs, repeatable")
	c.Flags().IntVar(&f.days, "expires-in-days", 0, "how long updates to it may begin (default 365)")
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask before signing")
	return c
}

func (a *app) createRelease(ctx context.Context, f releaseFlags) (err error) {
	if len(f.builds) == 0 || len(f.keys) == 0 || f.days < 0 {
		return usage("say --build OS/ARCH=FILE and --key FILE, each at least once, and no negative --expires-in-days")
	}
	keys := make([]trust.PrivateKey, len(f.keys))
	for i, file := range f.keys {
		if keys[i], err = trust.LoadKey(file); err != nil {
			return fmt.Errorf("load key: %w", err)
		}
	}
	if err := a.canAsk(&keys[0], signFlags{yes: f.yes}); err != nil {
		return err
	}
	api, err := a.connect()
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("make release id: %w", err)
	}
	doc := &release.Release{
		Format: release.Format, ID: id.String(), Version: strings.TrimPrefix(f.version, "v"), DowngradeFrom: withoutV(f.downgrades), Notes: f.notes,
	}
	doc.Stamp(a.Now(), time.Duration(f.days)*24*time.Hour)
	var packed []*localProgram
	defer func() {
		for _, p := range packed {
			err = errors.Join(err, p.close())
		}
	}()
	for _, b := range f.builds {
		p, err := packProgram(ctx, b, doc.Version)
		if err != nil {
			return err
		}
		packed, doc.Builds = append(packed, p), append(doc.Builds, p.build)
	}
	payload, err := doc.Encode()
	if err != nil {
		return err
	}
	if err := a.reviewRelease(doc, packed, keys, f.yes); err != nil {
		return err
	}
	envelope, err := trust.SignEnvelope(release.PayloadType, payload, keys...)
	if err != nil {
		return err
	}
	r, err := a.registerRelease(ctx, api, envelope, packed)
	if err != nil {
		return err
	}
	return a.showRelease(r)
}

func (a *app) registerRelease(ctx context.Context, api *client.Client, envelope []byte, packed []*localProgram) (client.Release, error) {
	_, present, err := presentTrust(ctx, api)
	if err != nil {
		return client.Release{}, err
	}
	if _, _, err := present.VerifyRelease(envelope); err != nil { // before everything is uploaded
		a.note("muster: a key that devices trust for releases must sign. See: muster trust show, and: muster trust add PUBLIC_KEY --role release")
		return client.Release{}, fmt.Errorf("devices would refuse the release: %w", err)
	}
	ids := make([]string, len(packed))
	for i, p := range packed {
		up, err := a.upload(ctx, api, &p.localArchive, "")
		if err != nil {
			return client.Release{}, err
		}
		ids[i] = up.ID
	}
	r, err := api.CreateRelease(ctx, envelope, ids)
	if err != nil {
		return r, fmt.Errorf("hand in the signed release: %w", err)
	}
	return r, nil
}

func withoutV(versions []string) []string {
	var out []string
	for _, v := range versions {
		out = append(out, strings.TrimPrefix(v, "v"))
	}
	return out
}

// reviewRelease shows all that is about to be signed, on the error stream, and asks.
func (a *app) reviewRelease(doc *release.Release, packed []*localProgram, keys []trust.PrivateKey, yes bool) error {
	shown := *a
	shown.Out = a.Err
	fields := []field{{"Sign", "release " + doc.Version + " of the agent"}, {"Release id", doc.ID}}
	for i, b := range doc.Builds {
		fields = append(fields,
			field{"Build", fmt.Sprintf("%s/%s, %s, %s", b.OS, b.Arch, packed[i].path, size(b.Size))},
			field{"SHA-256", b.SHA256},
			field{"Packed", fmt.Sprintf("%s, %s, SHA-256 %s", b.Archive.Format, size(b.Archive.Size), b.Archive.SHA256)})
	}
	fields = append(fields, field{"Down from", strings.Join(doc.DowngradeFrom, ", ")}, field{"Notes", doc.Notes}, field{"Expires", when(&doc.ExpiresAt)})
	for _, k := range keys {
		fields = append(fields, field{"With key", k.ID()})
	}
	if err := shown.fields(fields); err != nil {
		return err
	}
	for _, p := range packed {
		if !p.saysVersion {
			a.note("muster: %s does not hold the text %s: was it built as another version? Devices would not take it for this release.", p.path, doc.Version)
		}
	}
	return a.confirm("Sign this?", yes)
}

func (a *app) releaseListCommand() *cobra.Command {
	var q, state string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List releases of the agent, the newest first", Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			items, err := api.Releases(c.Context(), url.Values{"q": {q}, "state": {state}}, limit)
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(items))
			for _, r := range items {
				rows = append(rows, []string{r.Version, releaseState(r), strings.Join(platforms(r), ", "), when(&r.ExpiresAt), r.CreatedBy, r.ID})
			}
			return a.table(items, []string{"VERSION", "STATE", "BUILDS", "EXPIRES", "BY", "ID"}, rows)
		},
	}
	c.Flags().StringVar(&q, "search", "", "only versions that contain `text`")
	c.Flags().StringVar(&state, "state", "", "only active or retired")
	limitFlag(c, &limit)
	return c
}

func (a *app) releaseStep(name, short string, step func(*client.Client, context.Context, string) (client.Release, error)) *cobra.Command {
	return &cobra.Command{
		Use: name + " RELEASE", Short: short, Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			api, err := a.connect()
			if err != nil {
				return err
			}
			r, err := findRelease(c.Context(), api, argv[0])
			if err != nil {
				return err
			}
			if r, err = step(api, c.Context(), r.ID); err != nil {
				return err
			}
			return a.showRelease(r)
		},
	}
}

func (a *app) showRelease(r client.Release) error {
	fields := []field{{"Release", r.Version}, {"Id", r.ID}, {"State", releaseState(r)}}
	for _, b := range r.Builds {
		fields = append(fields, field{"Build", fmt.Sprintf("%s/%s, %s, SHA-256 %s", b.OS, b.Arch, size(b.Size), b.SHA256)})
	}
	return a.details(r, append(fields,
		field{"Down from", strings.Join(r.DowngradeFrom, ", ")}, field{"Notes", r.Notes},
		field{"Signed by", strings.Join(r.SignedBy, ", ")}, field{"Expires", when(&r.ExpiresAt)},
		field{"Created", when(&r.CreatedAt) + " by " + r.CreatedBy}, field{"Retired", when(r.RetiredAt)}))
}

// releaseState says in a word or two whether devices would take the release.
func releaseState(r client.Release) string {
	if r.State == "active" && r.Refusal != "" {
		return "active, but devices would refuse it: " + string(r.Refusal)
	}
	return r.State
}

func platforms(r client.Release) []string {
	list := make([]string, len(r.Builds))
	for i, b := range r.Builds {
		list[i] = b.OS + "/" + b.Arch
	}
	return list
}

// findRelease takes an id or a version; of several releases of a version the one that is not retired.
func findRelease(ctx context.Context, api *client.Client, ref string) (client.Release, error) {
	if isID(ref) {
		return api.Release(ctx, ref)
	}
	version := strings.TrimPrefix(ref, "v")
	all, err := api.Releases(ctx, url.Values{"q": {version}}, 0)
	if err != nil {
		return client.Release{}, err
	}
	all = slices.DeleteFunc(all, func(r client.Release) bool { return r.Version != version })
	if i := slices.IndexFunc(all, func(r client.Release) bool { return r.State == "active" }); i >= 0 {
		return all[i], nil // there is one at most
	}
	switch len(all) {
	case 0:
		return client.Release{}, fault.New(fault.NotFound, "no release %q; see: muster release list", ref)
	case 1:
		return all[0], nil
	default:
		return client.Release{}, fault.New(fault.Conflict, "%d retired releases are called %q: say which id", len(all), ref)
	}
}
