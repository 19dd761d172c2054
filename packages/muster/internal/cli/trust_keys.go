package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
	"github.com/muster/muster/packages/trust"
)

// newKey makes a key for a file that must not exist, or with existing reads the one that is there. The
// file is written by save, when the person has agreed.
func newKey(file string, existing bool) (k trust.PrivateKey, save func() error, err error) {
	if existing {
		k, err = trust.LoadKey(file)
		return k, func() error { return nil }, err
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return k, nil, fault.New(fault.Conflict, "%s exists: choose another name (keys are never overwritten), or say --existing to use the key in it", file)
	}
	k, err = trust.GenerateKey()
	return k, func() error { return trust.SaveKey(file, k) }, err
}

func (a *app) rotateRootCommand() *cobra.Command {
	var f changeFlags
	var file string
	var existing bool
	c := &cobra.Command{
		Use: "rotate-root", Short: "Replace the root key by a new one", Args: args(cobra.NoArgs),
		Long: `Replace the root key by a new one. Devices follow from the old to the new one.

Where the server holds the root key, it makes a new one for itself, and a new server key. Otherwise --root
is the old key and --new-root the file of the new one, which is made.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if (len(f.roots) == 0) != (file == "") || (file == "" && (existing || f.out != "")) {
				return usage("say --root OLD and --new-root NEW for keys in files; neither of them, nor --out, for keys on the server")
			}
			if file == "" {
				return a.rotateOnServer(c.Context(), f.yes)
			}
			return a.rotateRoot(c.Context(), f, file, existing)
		},
	}
	f.register(c.Flags())
	c.Flags().StringVar(&file, "new-root", "", "`file` of the new root key")
	c.Flags().BoolVar(&existing, "existing", false, "use the key that is in the file of --new-root")
	return c
}

func (a *app) rotateOnServer(ctx context.Context, yes bool) error {
	api, err := a.connect()
	if err != nil {
		return err
	}
	t, present, err := presentTrust(ctx, api)
	if err != nil {
		return err
	}
	if !t.RootOnServer {
		return fault.New(fault.Conflict, "the root key is not on this server: say --root OLD and --new-root NEW")
	}
	if err := a.confirm("The server makes a new root and server key. Packages must be signed again. Go on?", yes); err != nil {
		return err
	}
	if t, err = api.RotateTrust(ctx); err != nil {
		return err
	}
	if _, err := trust.VerifyChain("", present, [][]byte{t.Envelope}); err != nil {
		return fmt.Errorf("verify the trust document that the server published: %w", err)
	}
	return a.tellTrust(t)
}

func (a *app) rotateRoot(ctx context.Context, f changeFlags, file string, existing bool) error {
	keys, err := f.load()
	if err != nil {
		return err
	}
	root, save, err := newKey(file, existing)
	if err != nil {
		return err
	}
	return a.changeTrust(ctx, edit{
		flags: f, also: []trust.PrivateKey{root}, keep: save,
		change: func(present *trust.Document) (trust.Change, error) {
			old, err := findKey(present, keys[0].ID())
			if err != nil {
				return trust.Change{}, err
			}
			return trust.Change{Remove: []string{old.ID}, Add: []trust.Key{root.Entry(old.Roles...)}}, nil
		},
	})
}

type takeOverFlags struct {
	changeFlags
	rootFile, authorFile string
	existing             bool
}

func (a *app) takeOverCommand() *cobra.Command {
	var f takeOverFlags
	c := &cobra.Command{
		Use: "take-over", Short: "Take the right to sign away from the server, and keep it yourself", Args: args(cobra.NoArgs),
		Long: `Take the right to sign away from the server, and keep it yourself.

It makes a root key and an author key in two new files, makes them the keys that devices trust in place of
the server's, and has the server delete its own. From then on devices run only what an author signed, and
only the root key changes whom they trust. Keep both files off the server, and a copy of each in a safe
place: they cannot be made again. Then destroy the server's backups from before: they hold its old keys.`,
		RunE: func(c *cobra.Command, _ []string) error { return a.takeOver(c.Context(), f) },
	}
	f.register(c.Flags())
	c.Flags().StringVar(&f.rootFile, "root-file", "", "`file` of the new root key")
	c.Flags().StringVar(&f.authorFile, "author-file", "", "`file` of the new author key")
	c.Flags().BoolVar(&f.existing, "existing", false, "use the keys that are in the files")
	for _, name := range []string{"root-file", "author-file"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is registered above
		}
	}
	return c
}

func (a *app) takeOver(ctx context.Context, f takeOverFlags) error {
	if f.rootFile == f.authorFile {
		return usage("the root key and the author key belong in two files: the root key is needed rarely, and best kept locked away")
	}
	root, saveRoot, err := newKey(f.rootFile, f.existing)
	if err != nil {
		return err
	}
	author, saveAuthor, err := newKey(f.authorFile, f.existing)
	if err != nil {
		return err
	}
	api, err := a.connect()
	if err != nil {
		return err
	}
	return a.changeTrust(ctx, edit{
		flags: f.changeFlags, also: []trust.PrivateKey{root},
		change: func(present *trust.Document) (trust.Change, error) {
			return trust.TakeOver(present, root.PublicKey(), author.PublicKey()), nil
		},
		keep: func() error {
			if err := errors.Join(saveRoot(), saveAuthor()); err != nil {
				return err
			}
			a.note("The new keys are in %s and %s. Should this command be cut off, run it again with --existing.", f.rootFile, f.authorFile)
			return nil
		},
		done: func(t client.Trust, envelope []byte) error { return a.tookOver(ctx, api, f, t, envelope) },
	})
}

// tookOver keeps the document, which a server that is restored from an older backup needs again, and
// lists the devices that still have to follow.
func (a *app) tookOver(ctx context.Context, api *client.Client, f takeOverFlags, t client.Trust, envelope []byte) error {
	kept := fmt.Sprintf("%s.trust-%d.json", f.rootFile, t.Version)
	if err := atomicfile.Write(kept, envelope, 0o644); err != nil {
		return fmt.Errorf("keep the trust document: %w", err)
	}
	waiting, err := unconfirmed(ctx, api, t.Version, 200)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(map[string]any{"trust": t, "unconfirmed": waiting, "document_file": kept})
	}
	a.say("trust document %d is in force; it is also in %s", t.Version, kept)
	a.say("%s", powers(t))
	a.say("Sign packages from now on with: muster package sign --key %s", f.authorFile)
	if t.Devices.Behind == 0 {
		if text := followers(t); text != "" {
			a.say("Devices: %s", text)
		}
		return nil
	}
	a.say("These devices have not confirmed it yet, and until then trust the old keys (again: muster trust devices):")
	return a.showUnconfirmed(waiting)
}
