package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/strictjson"
	"github.com/muster/muster/packages/trust"
)

// proposal is a document on its way between those who sign it. It carries the one before, so that what
// changes can be shown where no server is reached.
type proposal struct {
	Present json.RawMessage `json:"present"`
	Next    json.RawMessage `json:"next"`
}

// maxProposal bounds a file that holds two envelopes.
const maxProposal = 2*trust.MaxEnvelope + 1<<10

func readProposal(file string) (p proposal, err error) {
	f, err := os.Open(file)
	if err != nil {
		return p, fmt.Errorf("read trust document: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxProposal+1))
	if err != nil {
		return p, fmt.Errorf("read trust document: %w", err)
	}
	if len(data) > maxProposal {
		return p, fault.New(fault.TooLarge, "%s is larger than two trust documents", file)
	}
	if err := strictjson.Decode(data, &p); err == nil && len(p.Next) > 0 && len(p.Present) > 0 {
		return p, nil
	}
	if _, _, err := trust.Read(data, nil); err != nil {
		return p, fault.New(fault.Invalid, "%s holds no trust document: %v", file, err)
	}
	return proposal{Next: data}, nil // published before
}

// documents decodes both documents; the present one is verified by its own roots.
func (p proposal) documents() (present, next *trust.Document, err error) {
	if len(p.Present) == 0 {
		return nil, nil, fault.New(fault.Invalid, "the file does not say which document it follows: make it with --out")
	}
	roots, err := trust.Signers(p.Present)
	if err != nil {
		return nil, nil, fmt.Errorf("verify the present trust document: %w", err)
	}
	if present, err = trust.VerifyChain(roots[0], nil, [][]byte{p.Present}); err != nil {
		return nil, nil, fmt.Errorf("verify the present trust document: %w", err)
	}
	next, _, err = trust.Read(p.Next, present)
	return present, next, err
}

func (a *app) writeProposal(file string, p proposal) error {
	present, next, err := p.documents()
	if err != nil {
		return err
	}
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode trust document: %w", err)
	}
	if err := atomicfile.Write(file, data, 0o644); err != nil {
		return fmt.Errorf("write trust document: %w", err)
	}
	have, need := signatures(present, next, p.Next)
	complete := false
	if _, err := trust.VerifyChain("", present, [][]byte{p.Next}); err == nil {
		complete = true
	}
	if a.json {
		return a.printJSON(map[string]any{"file": file, "version": next.Version, "signatures": have, "needed": need, "complete": complete})
	}
	a.say("%s: trust document %d, signed by %d of %d needed roots", file, next.Version, have, need)
	if complete {
		a.say("publish it with: muster trust publish %s", file)
	} else {
		a.say("have it signed with: muster trust sign %s --root FILE", file)
	}
	return nil
}

func (a *app) trustSignCommand() *cobra.Command {
	var roots []string
	var yes, compared bool
	c := &cobra.Command{
		Use: "sign FILE", Short: "Sign the next trust document that --out wrote; needs no server", Args: args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, argv []string) error {
			keys, err := loadKeys(roots)
			if err != nil {
				return err
			}
			p, err := readProposal(argv[0])
			if err != nil {
				return err
			}
			present, next, err := p.documents()
			if err != nil {
				return err
			}
			if next.Version <= present.Version {
				return fault.New(fault.Untrusted, "the file holds version %d after version %d: that is no next document", next.Version, present.Version)
			}
			if err := mayCosign(present, next, p.Present, keys, compared); err != nil {
				return err
			}
			if err := a.reviewTrust(present, next, keys, yes); err != nil {
				return err
			}
			if p.Next, err = trust.Cosign(trust.PayloadType, p.Next, keys...); err != nil {
				return err
			}
			return a.writeProposal(argv[0], p)
		},
	}
	c.Flags().StringArrayVar(&roots, "root", nil, "sign with the root key in `file`; may be repeated")
	c.Flags().BoolVar(&compared, "compared", false, comparedHelp)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	if err := c.MarkFlagRequired("root"); err != nil {
		panic(err) // the flag is registered above
	}
	return c
}

// mayCosign allows roots of the present document and those that the next one adds.
func mayCosign(present, next *trust.Document, envelope []byte, keys []trust.PrivateKey, compared bool) error {
	for _, k := range keys {
		if !isRoot(present, k) && !isRoot(next, k) {
			return fault.New(fault.Untrusted, "the key %s is a root neither of trust document %d nor of %d", k.ID(), present.Version, next.Version)
		}
	}
	return checkRoots(present, envelope, keys, compared)
}

func (a *app) trustPublishCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "publish FILE", Short: "Publish a signed trust document from a file", Args: args(cobra.ExactArgs(1)),
		Long: "Publish a trust document that --out wrote and its roots signed, or one that was published before and that\na server restored from an older backup has lost.",
		RunE: func(c *cobra.Command, argv []string) error { return a.publishTrust(c.Context(), argv[0], yes) },
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) publishTrust(ctx context.Context, file string, yes bool) error {
	p, err := readProposal(file)
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
	next, _, err := trust.Read(p.Next, present)
	if err != nil {
		return err
	}
	if next.Version <= present.Version {
		return fault.New(fault.Conflict, "%s holds trust document %d, but version %d is in force: make it again from that one", file, next.Version, present.Version)
	}
	if err := a.reviewTrust(present, next, nil, yes); err != nil {
		return err
	}
	if t, err = a.handIn(ctx, api, t, present, next, p.Next); err != nil {
		return err
	}
	return a.tellTrust(t)
}
