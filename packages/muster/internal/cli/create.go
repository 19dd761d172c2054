package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/muster/internal/client"
)

type createFlags struct {
	spec     specFlags
	sign     signFlags
	noSign   bool
	activate bool
	resume   string
}

func (a *app) createCommand() *cobra.Command {
	var f createFlags
	c := &cobra.Command{
		Use:   "create [FILE|FOLDER] --name NAME --version VERSION --action ACTION [-- COMMAND [ARGUMENT…]]",
		Short: "Upload an archive, make a package of it, and sign it",
		Long: `Upload an archive (.zip, .tar.gz, or a folder, which is packed) and make a package of it.

  launch   runs a file of the archive: the command's first element is its name there
  execute  runs a command of the device, in the unpacked archive if there is one
  store    places the contents under --store-path

With --key the instruction is computed from your own file, shown, and signed on this computer; without,
the server is asked to sign. An upload that was cut goes on by itself; after an interruption, with --resume.`,
		Example: `  muster package create ./setup --name tool --version 1.2 --action launch -- setup.sh --quiet
  muster package create --name update --version 7 --action execute -- apt-get -y upgrade
  muster package create files.zip --name fonts --version 1 --action store --store-path /usr/share/fonts/acme`,
		RunE: func(c *cobra.Command, argv []string) error {
			file, command := argv, []string(nil)
			if dash := c.ArgsLenAtDash(); dash >= 0 {
				file, command = argv[:dash], argv[dash:]
			}
			if len(file) > 1 {
				return usage("one archive at most, got %d; a command is written after --", len(file))
			}
			req, err := f.spec.request(c, command)
			if err != nil {
				return err
			}
			return a.create(c.Context(), file, req, f)
		},
	}
	f.spec.register(c.Flags())
	f.sign.register(c.Flags())
	c.Flags().BoolVar(&f.noSign, "no-sign", false, "leave the package an unsigned draft")
	c.Flags().BoolVar(&f.activate, "activate", false, "make it offerable at once")
	c.Flags().StringVar(&f.resume, "resume", "", "go on with the upload of this `id`")
	c.MarkFlagsMutuallyExclusive("no-sign", "activate")
	c.MarkFlagsMutuallyExclusive("no-sign", "key")
	return c
}

func (a *app) create(ctx context.Context, file []string, req client.NewPackage, f createFlags) (err error) {
	key, err := f.sign.load()
	if err != nil {
		return err
	}
	if err := a.canAsk(key, f.sign); err != nil {
		return err
	}
	api, err := a.connect()
	if err != nil {
		return err
	}
	var local *localArchive
	if len(file) == 1 {
		if local, err = openArchive(ctx, file[0]); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, local.close()) }()
	}
	if err := checkSpec(req, local, a.Now()); err != nil {
		return err
	}
	if local != nil {
		up, err := a.upload(ctx, api, local, f.resume)
		if err != nil {
			return err
		}
		req.UploadID = up.ID
	}
	p, err := api.CreatePackage(ctx, req)
	if err != nil {
		return err
	}
	id := p.ID
	switch {
	case f.noSign:
	case key != nil:
		p, err = a.signLocally(ctx, api, id, req, local, *key, f.sign, nil)
	default:
		p, err = api.SignByServer(ctx, id, f.sign.days)
	}
	if err != nil {
		a.note("muster: the package is there as an unsigned draft; go on with: muster package sign %s, or: muster package delete %s", id, id)
		return err
	}
	if f.activate && !p.Signed {
		a.note("More authors must sign it: muster package sign %s --key FILE. Then: muster package activate %s", id, id)
	}
	if f.activate && p.Signed {
		if p, err = api.ActivatePackage(ctx, id); err != nil {
			return fmt.Errorf("activate package %s: %w", id, err)
		}
	}
	return a.showPackage(p)
}

// checkSpec finds the author's mistakes before anything is uploaded.
func checkSpec(req client.NewPackage, local *localArchive, now time.Time) error {
	var meta *instruction.Archive
	if local != nil {
		meta = &local.meta
	}
	// The server gives the real id; the check needs one of the right form.
	if _, err := instruction.Build(specOf(uuid.NewString(), req), meta, now, 0); err != nil {
		return err
	}
	if req.Action == instruction.Launch && !local.has(req.Command[0]) {
		return fault.Field("command", "the archive has no file %q to launch", req.Command[0])
	}
	return nil
}

// upload brings the archive to the server, and compares what the server made of it.
func (a *app) upload(ctx context.Context, api *client.Client, l *localArchive, resume string) (client.Upload, error) {
	var id string
	o := client.UploadOptions{
		FileName: l.name, Content: l.file, Size: l.meta.Size, SHA256: l.meta.SHA256, Resume: resume,
		Begun: func(u client.Upload) { id = u.ID },
	}
	if a.Terminal && !a.json {
		bar := progressbar.NewOptions64(max(l.meta.Size, 1), progressbar.OptionSetWriter(a.Err), progressbar.OptionSetDescription(clean(l.name)),
			progressbar.OptionShowBytes(true), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
		o.Moved = func(offset int64) { _ = bar.Set64(offset) } // a bar that cannot be drawn stops nothing
		defer func() { _ = bar.Finish() }()
	}
	up, err := api.Upload(ctx, o)
	if err != nil {
		if id != "" && !l.once && (fault.Retryable(err) || errors.Is(err, context.Canceled)) {
			a.note("muster: go on with: --resume %s", id)
		}
		return up, fmt.Errorf("upload %s: %w", l.name, err)
	}
	if up.Archive == nil || up.Archive.SHA256 != l.meta.SHA256 || up.Archive.Size != l.meta.Size || up.Archive.Format != l.meta.Format {
		return up, fault.New(fault.Untrusted, "the server does not have the archive that was sent: upload %s is not used", up.ID)
	}
	if up.Archive.Fragments != len(l.meta.Fragments) {
		return up, fault.New(fault.Untrusted, "the server cut the archive differently: upload %s is not used", up.ID)
	}
	return up, nil
}
