package trust_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// TestThresholds: any number of valid signatures of any roles, some of them twice or by strangers, is
// accepted exactly when enough different keys of one role are among them.
func TestThresholds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	both := key(t) // author and release in one
	all := []trust.PrivateKey{w.author, w.author2, both, w.server, w.root, w.stranger}
	w.doc.Keys = append(w.doc.Keys, both.Entry(trust.RoleAuthor, trust.RoleRelease))
	payload := payloadOf(t)
	for threshold := 1; threshold <= 3; threshold++ {
		w.doc.Thresholds = map[trust.Role]int{trust.RoleAuthor: threshold}
		for mask := 1; mask < 1<<len(all); mask++ {
			var signers []trust.PrivateKey
			authors := 0
			for n, k := range all {
				if mask>>n&1 == 1 {
					signers = append(signers, k, k) // each twice
					if n < 3 {
						authors++
					}
				}
			}
			server := mask>>3&1 == 1
			envelope := seal(t, instruction.PayloadType, payload, signers...)
			_, ids, err := w.doc.VerifyInstruction(envelope)
			accepted := authors >= threshold || server
			require.Equal(t, accepted, err == nil, "threshold %d, %d authors, server %v: %v", threshold, authors, server, err)
			if accepted {
				require.Empty(t, w.doc.Judge(ids))
				continue
			}
			want := protocol.ReasonThreshold
			if authors == 0 && mask>>4&1 == 1 {
				want = protocol.ReasonRole
			} else if authors == 0 {
				want = protocol.ReasonSignature
			} else {
				_, by, err := w.doc.PartlySigned(envelope)
				require.NoError(t, err)
				require.Len(t, by, authors, "a key that signs twice counts once")
				require.Equal(t, want, w.doc.Judge(by))
			}
			require.Equal(t, want, instruction.ReasonOf(err))
		}
	}
}

// history is a random chain: roots come, go and change their threshold; each version is signed by enough
// roots of the one before and enough of its own.
type history struct {
	envelopes [][]byte
	docs      []*trust.Document
	roots     [][]trust.PrivateKey // of each version
	signed    [][]trust.PrivateKey
}

func randomHistory(t *testing.T, r *rand.Rand, versions int) history {
	t.Helper()
	var h history
	roots := []trust.PrivateKey{key(t)}
	doc := version(1, roots[0].Entry(trust.RoleRoot), key(t).Entry(trust.RoleServer))
	h.add(t, doc, roots, roots)
	for range versions - 1 {
		before := roots
		c := trust.Change{Revoke: []string{protocol.HashSecret(fmt.Sprint(r.Uint64()))}, Thresholds: map[trust.Role]int{}}
		roots = slices.Clone(roots)
		if r.IntN(3) == 0 {
			k := key(t)
			roots = append(roots, k)
			c.Add = append(c.Add, k.Entry(trust.RoleRoot))
		}
		if len(roots) > 1 && r.IntN(3) == 0 {
			at := r.IntN(len(roots))
			if slices.Contains(doc.Keys[0].Roles, trust.RoleRoot) || len(roots) > 2 {
				if _, old := doc.Key(roots[at].ID()); old {
					c.Remove = append(c.Remove, roots[at].ID())
					roots = slices.Delete(roots, at, at+1)
				}
			}
		}
		c.Thresholds[trust.RoleRoot] = 1 + r.IntN(min(len(roots), 3))
		next, err := doc.Next(c, now.Add(time.Duration(len(h.docs))*time.Hour))
		require.NoError(t, err)
		signers := slices.Concat(pick(r, before, doc.Threshold(trust.RoleRoot)), pick(r, roots, next.Threshold(trust.RoleRoot)))
		h.add(t, next, roots, signers)
		doc = next
	}
	return h
}

func (h *history) add(t *testing.T, d *trust.Document, roots, signers []trust.PrivateKey) {
	t.Helper()
	h.docs, h.roots, h.signed = append(h.docs, d), append(h.roots, roots), append(h.signed, signers)
	h.envelopes = append(h.envelopes, signDoc(t, d, signers...))
}

func pick(r *rand.Rand, keys []trust.PrivateKey, n int) []trust.PrivateKey {
	keys = slices.Clone(keys)
	r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys[:n]
}

// TestPrune_everybodyFollows: whoever stands at any version, or starts at the fingerprint that was handed
// out at any time, follows the pruned chain to the newest version, however often it was pruned on the way.
func TestPrune_everybodyFollows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		h := randomHistory(t, r, 2+r.IntN(14))
		first, err := trust.Signers(h.envelopes[0])
		require.NoError(t, err)
		var server []trust.Link // as a server keeps it: pruned at each version
		var starts []string     // fingerprints of enrollment strings
		for n, e := range h.envelopes {
			var current *trust.Document
			if n > 0 {
				current = server[len(server)-1].Document
			}
			links, err := trust.Follow(first[0], current, [][]byte{e})
			require.NoError(t, err, "seed %d version %d", seed, n+1)
			server = trust.Prune(append(server, links...))
			starts = append(starts, trust.Start(server))
			require.NotEmpty(t, starts[n])
		}
		var pruned [][]byte
		for _, l := range server {
			pruned = append(pruned, l.Envelope)
		}
		newest := h.docs[len(h.docs)-1]
		for n, d := range h.docs {
			got, err := trust.VerifyChain("", d, pruned)
			require.NoError(t, err, "seed %d: a device at version %d", seed, d.Version)
			require.Equal(t, newest, got)
			got, err = trust.VerifyChain(starts[n], nil, pruned)
			require.NoError(t, err, "seed %d: a device that enrolls with the string of version %d", seed, d.Version)
			require.Equal(t, newest, got)
			// What the device keeps leads there again at its next start.
			links, err := trust.Follow(starts[n], nil, pruned)
			require.NoError(t, err)
			var kept [][]byte
			for _, l := range trust.Prune(links) {
				kept = append(kept, l.Envelope)
			}
			got, err = trust.VerifyChain(starts[n], nil, kept)
			require.NoError(t, err)
			require.Equal(t, newest, got)
		}
		require.Equal(t, trust.Prune(server), server, "pruning again changes nothing")
	}
}

// TestPrune_bounded: versions by the same roots add nothing.
func TestPrune_bounded(t *testing.T) {
	t.Parallel()
	root := key(t)
	doc := version(1, root.Entry(trust.RoleRoot))
	var links []trust.Link
	for n := range 200 {
		more, err := trust.Follow(root.ID(), lastOf(links), [][]byte{signDoc(t, doc, root)})
		require.NoError(t, err)
		links = trust.Prune(append(links, more...))
		require.LessOrEqual(t, len(links), 2)
		doc, err = doc.Next(trust.Change{Revoke: []string{protocol.HashSecret(fmt.Sprint(n))}}, now)
		require.NoError(t, err)
	}
	require.Equal(t, 200, lastOf(links).Version)
}

func lastOf(links []trust.Link) *trust.Document {
	if len(links) == 0 {
		return nil
	}
	return links[len(links)-1].Document
}

// TestFollow_forged: in a random history, a next version by any set of keys that is not enough for the
// roots before or for its own is refused; a root that was removed counts for nothing.
func TestFollow_forged(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 2))
		h := randomHistory(t, r, 2+r.IntN(8))
		newest, roots := h.docs[len(h.docs)-1], h.roots[len(h.roots)-1]
		var everybody []trust.PrivateKey // who was ever a root
		for _, list := range h.roots {
			for _, k := range list {
				if !slices.ContainsFunc(everybody, func(o trust.PrivateKey) bool { return o.ID() == k.ID() }) {
					everybody = append(everybody, k)
				}
			}
		}
		next, err := newest.Next(trust.Change{Revoke: []string{protocol.HashSecret("x")}}, now)
		require.NoError(t, err)
		for range 8 {
			signers := pick(r, everybody, 1+r.IntN(len(everybody)))
			valid := 0
			for _, k := range signers {
				if slices.ContainsFunc(roots, func(o trust.PrivateKey) bool { return o.ID() == k.ID() }) {
					valid++
				}
			}
			_, err := trust.VerifyChain("", newest, [][]byte{signDoc(t, next, append(signers, signers...)...)})
			if valid >= newest.Threshold(trust.RoleRoot) {
				require.NoError(t, err)
				continue
			}
			require.Equal(t, protocol.ReasonTrust, instruction.ReasonOf(err), "seed %d: %d of %d", seed, valid, newest.Threshold(trust.RoleRoot))
		}
	}
}

// TestVerifyChain_oneOfSeveralRoots: the string of a device names one root; documents that others signed
// without it are passed over, and one that lists it without its signature starts nothing.
func TestVerifyChain_oneOfSeveralRoots(t *testing.T) {
	t.Parallel()
	a, b, c := key(t), key(t), key(t)
	three := func(n int) *trust.Document {
		d := version(n, a.Entry(trust.RoleRoot), b.Entry(trust.RoleRoot), c.Entry(trust.RoleRoot))
		d.Thresholds = map[trust.Role]int{trust.RoleRoot: 2}
		return d
	}
	v1, v2, v3 := signDoc(t, three(1), a, b), signDoc(t, three(2), b, c), signDoc(t, three(3), a, b)
	d, err := trust.VerifyChain(c.ID(), nil, [][]byte{v1, v2, v3})
	require.NoError(t, err)
	require.Equal(t, 3, d.Version)
	_, err = trust.VerifyChain(c.ID(), nil, [][]byte{v1, v3})
	require.Equal(t, protocol.ReasonTrust, instruction.ReasonOf(err))
}

func TestNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stranger := w.stranger.Entry(trust.RoleAuthor)
	for name, c := range map[string]struct {
		change trust.Change
		want   string
		code   fault.Code
	}{
		"nothing":                {trust.Change{}, "nothing would change", fault.Conflict},
		"revoked already":        {trust.Change{Thresholds: map[trust.Role]int{trust.RoleAuthor: 1}}, "nothing would change", fault.Conflict},
		"key there":              {trust.Change{Add: []trust.Key{w.author.Entry(trust.RoleRelease)}}, "already", fault.Conflict},
		"key not there":          {trust.Change{Remove: []string{stranger.ID}}, "not in the trust document", fault.NotFound},
		"last root":              {trust.Change{Remove: []string{w.root.ID()}}, "no root key", fault.Invalid},
		"threshold nobody meets": {trust.Change{Thresholds: map[trust.Role]int{trust.RoleAuthor: 3}}, "threshold 3", fault.Invalid},
		"threshold zero":         {trust.Change{Thresholds: map[trust.Role]int{trust.RoleAuthor: 0}}, "threshold 0", fault.Invalid},
		"revoke nonsense":        {trust.Change{Revoke: []string{"x"}}, "neither", fault.Invalid},
	} {
		_, err := w.doc.Next(c.change, now)
		require.ErrorContains(t, err, c.want, name)
		require.Equal(t, c.code, fault.CodeOf(err), name)
	}
	next, err := w.doc.Next(trust.Change{
		Add: []trust.Key{stranger}, Remove: []string{w.author.ID()}, Thresholds: map[trust.Role]int{trust.RoleAuthor: 2}, Revoke: []string{sample(t).ID, sample(t).ID},
	}, now)
	require.NoError(t, err)
	require.Equal(t, 2, next.Version)
	require.Equal(t, []string{sample(t).ID}, next.Revoked)
	require.Equal(t, []string{
		"remove key " + w.author.ID() + " (author)", "add key    " + stranger.ID + " (author)", "needed author signatures: 2, before: 1", "revoke " + sample(t).ID,
	}, trust.Differences(w.doc, next))
	require.Len(t, w.doc.Keys, 5, "the document before is as it was")
	undone := *next
	undone.Revoked = nil
	require.Contains(t, trust.Differences(next, &undone), "NO LONGER revoke "+sample(t).ID, "whoever signs sees it")

	over, err := next.Next(trust.TakeOver(next, w.stranger.PublicKey(), w.author.PublicKey()), now)
	require.ErrorContains(t, err, "already", "the new root is an author already: a key has one purpose")
	require.Nil(t, over)
	root := key(t)
	over, err = next.Next(trust.TakeOver(next, root.PublicKey(), w.stranger.PublicKey()), now)
	require.NoError(t, err)
	require.Equal(t, []trust.Key{w.author2.Entry(trust.RoleAuthor), w.release.Entry(trust.RoleRelease), stranger, root.Entry(trust.RoleRoot)}, over.Keys)
	require.Equal(t, 2, over.Threshold(trust.RoleAuthor))
	require.Equal(t, next.Revoked, over.Revoked)
}

func TestMergeInstruction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := seal(t, instruction.PayloadType, payloadOf(t), w.author), seal(t, instruction.PayloadType, payloadOf(t), w.author2)
	both, err := trust.MergeInstruction(one, two)
	require.NoError(t, err)
	_, ids, err := w.doc.VerifyInstruction(both)
	require.NoError(t, err)
	require.Len(t, ids, 2)
	again, err := trust.MergeInstruction(both, one)
	require.NoError(t, err)
	require.Equal(t, both, again)
	_, err = trust.MergeInstruction(one, seal(t, instruction.PayloadType, []byte("{}"), w.author2))
	require.True(t, fault.Is(err, fault.Conflict))
	_, err = trust.MergeInstruction(one, seal(t, trust.PayloadType, payloadOf(t), w.author2))
	require.Equal(t, protocol.ReasonPayloadType, instruction.ReasonOf(err))
}

func TestPropose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	next, err := w.doc.Next(trust.Change{Revoke: []string{sample(t).ID}}, now)
	require.NoError(t, err)
	envelope, err := next.Propose()
	require.NoError(t, err)
	d, by, err := trust.Read(envelope, w.doc)
	require.NoError(t, err)
	require.Equal(t, next, d)
	require.Empty(t, by)
	_, err = trust.VerifyChain("", w.doc, [][]byte{envelope})
	require.Equal(t, protocol.ReasonTrust, instruction.ReasonOf(err))
	envelope, err = trust.Cosign(trust.PayloadType, envelope, w.root)
	require.NoError(t, err)
	_, by, err = trust.Read(envelope, nil)
	require.NoError(t, err)
	require.Equal(t, []string{w.root.ID()}, by)
	_, err = trust.VerifyChain("", w.doc, [][]byte{envelope})
	require.NoError(t, err)
}

func FuzzReadTrust(f *testing.F) {
	w := newWorld(f)
	good, err := w.doc.Sign(w.root)
	require.NoError(f, err)
	f.Add(good)
	proposed, err := w.doc.Propose()
	require.NoError(f, err)
	f.Add(proposed)
	f.Fuzz(func(t *testing.T, data []byte) {
		d, by, err := trust.Read(data, w.doc)
		if err != nil {
			require.NotEmpty(t, instruction.ReasonOf(err))
			return
		}
		require.NoError(t, d.Validate())
		for _, id := range by {
			require.Equal(t, w.root.ID(), id, "nobody else can have signed")
		}
	})
}
