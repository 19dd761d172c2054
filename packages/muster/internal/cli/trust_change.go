package cli

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// changeFlags are those of every change of the trust document.
type changeFlags struct {
	roots    []string
	compared bool
	out      string
	yes      bool
}

func (f *changeFlags) register(s *pflag.FlagSet) {
	s.StringArrayVar(&f.roots, "root", nil, "sign here with the root key in `file`; may be repeated")
	s.BoolVar(&f.compared, "compared", false, comparedHelp)
	s.StringVar(&f.out, "out", "", "publish nothing: write the document to `file`, for others to sign")
	s.BoolVar(&f.yes, "yes", false, "do not ask")
}

const comparedHelp = "none of the roots here signed the present document; its keys were compared by another way"

func (f *changeFlags) load() ([]trust.PrivateKey, error) { return loadKeys(f.roots) }

func loadKeys(files []string) ([]trust.PrivateKey, error) {
	keys := make([]trust.PrivateKey, 0, len(files))
	for _, name := range files {
		k, err := trust.LoadKey(name)
		if err != nil {
			return nil, fmt.Errorf("load root key: %w", err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// edit is one change of the trust document. Its functions get the document in force.
type edit struct {
	flags changeFlags
	// change says what is to be different.
	change func(present *trust.Document) (trust.Change, error)
	// also sign, beside --root: the new keys that a change makes. keep stores them once the person agreed.
	also []trust.PrivateKey
	keep func() error
	// done tells the outcome; nil prints the usual line.
	done func(t client.Trust, envelope []byte) error
}

// changeTrust makes the next document from the one in force, shows it, signs it with the keys that are
// here and hands it to the server, which adds its signature if it holds the root key.
func (a *app) changeTrust(ctx context.Context, e edit) error {
	keys, err := e.flags.load()
	if err != nil {
		return err
	}
	api, err := a.connect()
	if err != nil {
		return err
	}
	t, present, err := presentTrust(ctx, api)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if !isRoot(present, k) {
			return fault.New(fault.Untrusted, "the key %s is no root of trust document %d; see: muster trust show", k.ID(), present.Version)
		}
	}
	if err := checkRoots(present, t.Envelope, keys, e.flags.compared); err != nil {
		return err
	}
	c, err := e.change(present)
	if err != nil {
		return err
	}
	next, err := present.Next(c, a.Now())
	if err != nil {
		return err
	}
	signers := slices.Concat(keys, e.also)
	if err := a.reviewTrust(present, next, signers, e.flags.yes); err != nil {
		return err
	}
	if e.keep != nil {
		if err := e.keep(); err != nil {
			return err
		}
	}
	envelope, err := signTrust(next, signers)
	if err != nil {
		return err
	}
	if e.flags.out != "" {
		return a.writeProposal(e.flags.out, proposal{Present: t.Envelope, Next: envelope})
	}
	if t, err = a.handIn(ctx, api, t, present, next, envelope); err != nil {
		return err
	}
	if e.done != nil {
		return e.done(t, t.Envelope)
	}
	return a.tellTrust(t)
}

func signTrust(d *trust.Document, keys []trust.PrivateKey) ([]byte, error) {
	if len(keys) == 0 {
		return d.Propose()
	}
	return d.Sign(keys...)
}

// presentTrust reads the document in force and checks that it holds together.
func presentTrust(ctx context.Context, api *client.Client) (client.Trust, *trust.Document, error) {
	t, err := api.Trust(ctx)
	if err != nil {
		return t, nil, err
	}
	d, err := trust.VerifyChain(t.RootFingerprint, nil, [][]byte{t.Envelope})
	if err != nil {
		return t, nil, fmt.Errorf("verify the trust document that the server shows: %w", err)
	}
	return t, d, nil
}

// checkRoots makes sure that what is changed is what a holder of these root keys signed before: a server
// that is not honest could show a document of its own making, and have it signed with a small change. Of
// several roots one may have signed nothing yet: then a person must have compared the document.
func checkRoots(present *trust.Document, envelope []byte, keys []trust.PrivateKey, compared bool) error {
	verified := compared || len(keys) == 0
	for _, k := range keys {
		if _, err := trust.VerifyChain(k.ID(), nil, [][]byte{envelope}); err == nil {
			verified = true
		}
	}
	if verified {
		return nil
	}
	return fault.New(fault.Untrusted, "none of your root keys signed trust document %d: a dishonest server could have made it. Nothing was signed. "+
		"If other roots signed it, compare all its keys with them by another way than this server, then say --compared", present.Version)
}

func isRoot(d *trust.Document, k trust.PrivateKey) bool {
	entry, ok := d.Key(k.ID())
	return ok && entry.Has(trust.RoleRoot)
}

func rootsOf(d *trust.Document) []trust.Key {
	return slices.DeleteFunc(slices.Clone(d.Keys), func(k trust.Key) bool { return !k.Has(trust.RoleRoot) })
}

// reviewTrust shows what is about to be signed or asked for, on the error stream: what changes, and all
// that holds afterwards.
func (a *app) reviewTrust(present, next *trust.Document, signers []trust.PrivateKey, yes bool) error {
	shown := *a
	shown.Out, shown.json = a.Err, false
	shown.say("Trust document %d, after %d. It changes this:", next.Version, present.Version)
	for _, line := range trust.Differences(present, next) {
		shown.say("  %s", line)
	}
	shown.say("Devices then trust:")
	rows := make([][]string, 0, len(next.Keys))
	for _, k := range next.Keys {
		var roles, needed []string
		for _, r := range k.Roles {
			roles, needed = append(roles, string(r)), append(needed, strconv.Itoa(next.Threshold(r)))
		}
		rows = append(rows, []string{"  " + k.ID, strings.Join(roles, ", "), strings.Join(needed, ", ")})
	}
	if err := shown.table(nil, []string{"  KEY", "ROLES", "NEEDED"}, rows); err != nil {
		return err
	}
	for _, k := range signers {
		shown.say("Signed here with %s", k.ID())
	}
	return a.confirm("Make this the trust document?", yes)
}

// handIn publishes the next document, with the server's signature where that is needed and there.
func (a *app) handIn(ctx context.Context, api *client.Client, t client.Trust, present, next *trust.Document, envelope []byte) (client.Trust, error) {
	give := api.PublishTrust
	if _, err := trust.VerifyChain("", present, [][]byte{envelope}); err != nil {
		if !t.RootOnServer {
			have, need := signatures(present, next, envelope)
			return t, fault.New(fault.Conflict, "%d of %d needed root signatures are there, and the server holds no root key: sign with --root FILE, or write it with --out FILE and have it signed", have, need)
		}
		give = api.CosignTrust
	}
	published, err := give(ctx, envelope)
	var lost *client.UnreachableError
	if errors.As(err, &lost) { // perhaps only the answer was lost
		if now, doc, again := presentTrust(ctx, api); again == nil && same(doc, next) {
			return now, nil
		}
	}
	if err != nil {
		return t, err
	}
	doc, err := trust.VerifyChain("", present, [][]byte{published.Envelope})
	if err != nil {
		return t, fmt.Errorf("verify the trust document that the server published: %w", err)
	}
	if !same(doc, next) {
		return t, fault.New(fault.Conflict, "the server's trust document is version %d now, but not the one shown here: another person changed it meanwhile; see: muster trust show", doc.Version)
	}
	return published, nil
}

func same(a, b *trust.Document) bool {
	return a.Version == b.Version && len(trust.Differences(a, b)) == 0
}

// signatures counts the present and new roots that have signed against those that must, for the side
// that lacks most.
func signatures(present, next *trust.Document, envelope []byte) (have, need int) {
	_, ids, err := trust.Read(envelope, present)
	if err != nil {
		return 0, present.Threshold(trust.RoleRoot)
	}
	count := func(d *trust.Document) int {
		return len(slices.DeleteFunc(rootsOf(d), func(k trust.Key) bool { return !slices.Contains(ids, k.ID) }))
	}
	have, need = count(present), present.Threshold(trust.RoleRoot)
	if n, of := count(next), next.Threshold(trust.RoleRoot); have >= need && n < of {
		return n, of
	}
	return have, need
}

// tellTrust says that a document is in force, and how far devices have followed.
func (a *app) tellTrust(t client.Trust) error {
	if a.json {
		return a.printJSON(t)
	}
	a.say("trust document %d is in force", t.Version)
	if t.Devices.Behind > 0 {
		a.say("%d of %d devices have not confirmed it yet: muster trust devices", t.Devices.Behind, t.Devices.Total)
	}
	return nil
}

// trustChange is a command that makes a change of its arguments.
func (a *app) trustChange(use, short string, check cobra.PositionalArgs, change func(ctx context.Context, argv []string) (func(*trust.Document) (trust.Change, error), error)) *cobra.Command {
	var f changeFlags
	c := &cobra.Command{
		Use: use, Short: short, Args: args(check),
		RunE: func(c *cobra.Command, argv []string) error {
			make, err := change(c.Context(), argv)
			if err != nil {
				return err
			}
			return a.changeTrust(c.Context(), edit{flags: f, change: make})
		},
	}
	f.register(c.Flags())
	return c
}

func publicKey(s string) (ed25519.PublicKey, error) {
	public, err := hex.DecodeString(s)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return nil, usage("%q is not a public key: give the 64 hex digits that muster keygen printed", s)
	}
	return public, nil
}

func (a *app) trustAddCommand() *cobra.Command {
	var words []string
	c := a.trustChange("add PUBLIC_KEY", "Let a key sign packages (author), agent releases (release) or trust documents (root)", cobra.ExactArgs(1),
		func(_ context.Context, argv []string) (func(*trust.Document) (trust.Change, error), error) {
			public, err := publicKey(argv[0])
			if err != nil {
				return nil, err
			}
			roles, err := rolesOf(words)
			if err != nil {
				return nil, err
			}
			return func(*trust.Document) (trust.Change, error) {
				return trust.Change{Add: []trust.Key{{ID: trust.KeyID(public), Public: public, Roles: roles}}}, nil
			}, nil
		})
	c.Long = "Let a key sign. PUBLIC_KEY is what muster keygen printed: 64 hex digits."
	c.Flags().StringSliceVar(&words, "role", []string{string(trust.RoleAuthor)}, "what it may sign: author, release or root; may be repeated")
	return c
}

func (a *app) trustRemoveCommand() *cobra.Command {
	c := a.trustChange("remove KEY_ID…", "Trust keys no longer", cobra.MinimumNArgs(1),
		func(_ context.Context, argv []string) (func(*trust.Document) (trust.Change, error), error) {
			return func(present *trust.Document) (trust.Change, error) {
				var c trust.Change
				for _, ref := range argv {
					k, err := findKey(present, ref)
					if err != nil {
						return c, err
					}
					c.Remove = append(c.Remove, k.ID)
				}
				return c, nil
			}, nil
		})
	c.Long = "Trust keys no longer. KEY_ID is an id that muster trust show lists, or its first 8 digits or more.\nPackages that only removed keys have signed are refused by devices until they are signed again."
	return c
}

func (a *app) trustReplaceCommand() *cobra.Command {
	return a.trustChange("replace KEY_ID PUBLIC_KEY", "Trust another key in place of one, with the same roles", cobra.ExactArgs(2),
		func(_ context.Context, argv []string) (func(*trust.Document) (trust.Change, error), error) {
			public, err := publicKey(argv[1])
			if err != nil {
				return nil, err
			}
			return func(present *trust.Document) (trust.Change, error) {
				old, err := findKey(present, argv[0])
				if err != nil {
					return trust.Change{}, err
				}
				return trust.Change{Remove: []string{old.ID}, Add: []trust.Key{{ID: trust.KeyID(public), Public: public, Roles: old.Roles}}}, nil
			}, nil
		})
}

func keyCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, usage("%q is no number of keys: give 1 or more", s)
	}
	return n, nil
}

func (a *app) trustThresholdCommand() *cobra.Command {
	c := a.trustChange("threshold ROLE N", "Say how many different keys of a role must sign", cobra.ExactArgs(2),
		func(_ context.Context, argv []string) (func(*trust.Document) (trust.Change, error), error) {
			roles, err := rolesOf(argv[:1])
			if err != nil {
				return nil, err
			}
			n, err := keyCount(argv[1])
			if err != nil {
				return nil, err
			}
			return func(*trust.Document) (trust.Change, error) {
				return trust.Change{Thresholds: map[trust.Role]int{roles[0]: n}}, nil
			}, nil
		})
	c.Long = "Say how many different keys of a role (author, release, root) must sign. As long as the server can sign\nby itself, its signature is enough for a package, whatever the authors' number is."
	return c
}

func (a *app) trustRevokeCommand() *cobra.Command {
	c := a.trustChange("revoke PACKAGE…", "Forbid devices to run a package, however it is signed", cobra.MinimumNArgs(1),
		func(ctx context.Context, argv []string) (func(*trust.Document) (trust.Change, error), error) {
			var c trust.Change
			for _, ref := range argv {
				if protocol.IsSHA256(ref) {
					c.Revoke = append(c.Revoke, ref)
					continue
				}
				api, err := a.connect()
				if err != nil {
					return nil, err
				}
				p, err := findPackage(ctx, api, ref)
				if fault.Is(err, fault.NotFound) && isID(ref) {
					c.Revoke = append(c.Revoke, ref) // devices may hold what this server has lost
					if r, err := api.Release(ctx, ref); err == nil {
						a.note("%s is the release %s of the agent", r.ID, r.Version)
					}
					continue
				}
				if err != nil {
					return nil, err
				}
				a.note("%s is the package %s %s", p.ID, p.Name, p.Version)
				c.Revoke = append(c.Revoke, p.ID)
			}
			return func(*trust.Document) (trust.Change, error) { return c, nil }, nil
		})
	c.Long = `Forbid devices to run a package, however it is signed and whoever offers it. PACKAGE is a name, an id (also
that of a release of the agent), or the SHA-256 of one signed payload. It cannot be taken back: make a new package
instead. What has started already goes on.`
	return c
}
