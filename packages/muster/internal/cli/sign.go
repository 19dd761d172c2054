package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/muster/internal/client"
	"github.com/muster/muster/packages/trust"
)

type signFlags struct {
	key  string
	days int
	yes  bool
}

func (f *signFlags) register(s *pflag.FlagSet) {
	s.StringVar(&f.key, "key", "", "sign here with the private key in `file`, not on the server")
	s.IntVar(&f.days, "expires-in-days", 0, "how long devices may begin it (default 365)")
	s.BoolVar(&f.yes, "yes", false, "do not ask before signing")
}

// load reads the key, before anything else is done. Nil: the server signs.
func (f *signFlags) load() (*trust.PrivateKey, error) {
	if f.days < 0 {
		return nil, usage("--expires-in-days %d is negative", f.days)
	}
	if f.key == "" {
		return nil, nil
	}
	k, err := trust.LoadKey(f.key)
	if err != nil {
		return nil, fmt.Errorf("load key: %w", err)
	}
	return &k, nil
}

func (a *app) signCommand() *cobra.Command {
	var f signFlags
	var file string
	var anew bool
	c := &cobra.Command{
		Use:   "sign PACKAGE",
		Short: "Sign a package, or sign it again",
		Long: `Sign a package, or sign it again before it expires.

With --key the instruction is computed on this computer from your own --archive, shown, and signed.
Without, the server signs with its own key, if it still has one.

When several authors must sign, each runs this command: it adds a signature to what the others signed, if
that is what it computes itself. With --anew, or another expiry, the collecting begins again.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, argv []string) error {
			if f.key == "" && file != "" {
				return usage("--archive is used with --key only")
			}
			return a.sign(c.Context(), argv[0], file, f, anew || f.days > 0)
		},
	}
	f.register(c.Flags())
	c.Flags().BoolVar(&anew, "anew", false, "do not add to the signatures that wait for more")
	c.Flags().StringVar(&file, "archive", "", "your own copy of the archive, `file` or folder")
	return c
}

// canAsk refuses to sign where nobody can agree, before anything is uploaded.
func (a *app) canAsk(key *trust.PrivateKey, f signFlags) error {
	if key == nil || f.yes || a.Terminal {
		return nil
	}
	return usage("signing with --key asks whether to sign what it shows, and this is no terminal: say --yes to agree")
}

func (a *app) sign(ctx context.Context, ref, file string, f signFlags, anew bool) (err error) {
	key, err := f.load()
	if err != nil {
		return err
	}
	if err := a.canAsk(key, f); err != nil {
		return err
	}
	api, err := a.connect()
	if err != nil {
		return err
	}
	p, err := findPackage(ctx, api, ref, "draft", "active")
	if err != nil {
		return err
	}
	if key == nil {
		if p, err = api.SignByServer(ctx, p.ID, f.days); err != nil {
			return err
		}
		return a.showPackage(p)
	}
	var local *localArchive
	switch {
	case p.Archive != nil && file == "":
		return usage("%s has an archive: say --archive FILE, what the server holds is not signed unseen", p.Name)
	case p.Archive == nil && file != "":
		return usage("%s has no archive", p.Name)
	case file != "":
		if local, err = openArchive(ctx, file); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, local.close()) }()
		if local.meta.SHA256 != p.Archive.SHA256 {
			return fault.New(fault.Untrusted, "%s is not the archive that the server holds (SHA-256 %s here, %s there)", local.name, local.meta.SHA256, p.Archive.SHA256)
		}
	}
	var partial []byte
	if p.Partial != nil && !anew {
		if partial, err = api.PartialInstruction(ctx, p.ID); err != nil {
			return err
		}
	}
	if p, err = a.signLocally(ctx, api, p.ID, p.NewPackage, local, *key, f, partial); err != nil {
		return err
	}
	if err := a.showPackage(p); err != nil || p.Partial == nil {
		return err
	}
	a.note("More authors must sign it: muster package sign %s --key FILE", p.ID)
	return nil
}

// signLocally builds the document from the author's file and words, shows it, signs it and hands it in.
func (a *app) signLocally(ctx context.Context, api *client.Client, id string, req client.NewPackage, local *localArchive, key trust.PrivateKey, f signFlags, partial []byte) (client.Package, error) {
	var meta *instruction.Archive
	if local != nil {
		meta = &local.meta
	}
	doc, err := instruction.Build(specOf(id, req), meta, a.Now(), time.Duration(f.days)*24*time.Hour)
	if err != nil {
		return client.Package{}, err
	}
	if len(partial) > 0 {
		if err := join(doc, partial, a.Now()); err != nil {
			return client.Package{}, err
		}
	}
	payload, err := doc.Encode()
	if err != nil {
		return client.Package{}, err
	}
	if err := a.reviewInstruction(doc, local, key, f.yes); err != nil {
		return client.Package{}, err
	}
	envelope, err := trust.SignEnvelope(instruction.PayloadType, payload, key)
	if err != nil {
		return client.Package{}, err
	}
	if len(partial) > 0 {
		if envelope, err = trust.MergeInstruction(partial, envelope); err != nil {
			return client.Package{}, err
		}
	}
	p, err := api.PutInstruction(ctx, id, envelope)
	if err != nil {
		if fault.Is(err, fault.Untrusted) {
			a.note("muster: was it signed with a key that devices trust? See: muster trust show. This key is %s", key.ID())
		}
		return client.Package{}, fmt.Errorf("hand in the signed instruction: %w", err)
	}
	return p, nil
}

// join gives our own document the serial and times of one that another author began to sign. It must say
// the same otherwise, and its times must be such that this program could have made them.
func join(own *instruction.Instruction, partial []byte, now time.Time) error {
	const hint = "; begin again with --anew"
	theirs, err := trust.ReadInstruction(partial)
	if err != nil {
		return err
	}
	if diff := instruction.Differences(own, theirs); len(diff) > 0 {
		return fault.New(fault.Untrusted, "what another author signed differs from your own file and settings in %s: nothing was signed"+hint, strings.Join(diff, ", "))
	}
	valid := theirs.ExpiresAt.Sub(theirs.IssuedAt)
	stamped := *own
	stamped.Stamp(time.UnixMilli(int64(theirs.Serial)), valid) // compared below
	if stamped.Serial != theirs.Serial || !stamped.IssuedAt.Equal(theirs.IssuedAt) || theirs.IssuedAt.After(now.Add(mostSkew)) || valid > mostValid {
		return fault.New(fault.Untrusted, "what another author signed is issued at %s with serial %d, which is not true: nothing was signed"+hint, when(&theirs.IssuedAt), theirs.Serial)
	}
	if trust.Expired(theirs, now) {
		return fault.New(fault.Conflict, "what another author signed has expired"+hint)
	}
	*own = stamped
	return nil
}

const (
	mostSkew  = 10 * time.Minute      // between authors
	mostValid = 3650 * 24 * time.Hour // of an instruction
)

// reviewInstruction shows what is about to be signed, on the error stream, and asks.
func (a *app) reviewInstruction(doc *instruction.Instruction, local *localArchive, key trust.PrivateKey, yes bool) error {
	shown := *a
	shown.Out = a.Err
	fields := []field{
		{"Sign", doc.Name + " " + doc.Version}, {"Package id", doc.ID}, {"Priority", strconv.Itoa(doc.Priority)},
		{"Action", string(doc.Action)}, {"Command", quoteArgs(doc.Command)}, {"Store under", doc.StorePath},
	}
	if local != nil {
		fields = append(fields,
			field{"Archive", fmt.Sprintf("%s, %s, %s, %d entries", local.name, doc.Archive.Format, size(doc.Archive.Size), len(local.entries))},
			field{"SHA-256", doc.Archive.SHA256})
	}
	fields = append(fields, conditionFields(doc)...)
	fields = append(fields, field{"Expires", when(&doc.ExpiresAt)}, field{"With key", key.ID()})
	if err := shown.fields(fields); err != nil {
		return err
	}
	return a.confirm("Sign this?", yes)
}

func (a *app) keygenCommand() *cobra.Command {
	return &cobra.Command{
		Use: "keygen FILE", Short: "Make a private key for signing, readable by you alone", Args: args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, argv []string) error {
			k, err := trust.GenerateKey()
			if err != nil {
				return err
			}
			if err := trust.SaveKey(argv[0], k); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]string{"key_id": k.ID(), "file": argv[0], "public": fmt.Sprintf("%x", []byte(k.PublicKey()))})
			}
			a.say("key id      %s", k.ID())
			a.say("public key  %x", []byte(k.PublicKey()))
			a.note("The private key is in %s. Keep a copy in a safe place: it cannot be made again.\nSo that devices trust it: muster trust add %x", argv[0], []byte(k.PublicKey()))
			return nil
		},
	}
}
