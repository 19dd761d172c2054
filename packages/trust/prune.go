package trust

import "slices"

// MaxChain bounds the envelopes of a pruned chain, in bytes: what a server hands to a device at once,
// and what a device keeps.
const MaxChain = 12 << 20

// Prune leaves out of a followed chain what nobody needs, so that it grows with changes of the roots and
// not with versions. It keeps the newest document; of each run of documents with the same roots the
// first, which the roots before signed; and in it the first that each root signed, because a device may
// start from that root's fingerprint. Every document that is left out was signed by enough roots of the
// run, and so was the next one that stays: whoever stands at any document of the whole chain can follow
// the pruned one.
func Prune(links []Link) []Link {
	var (
		kept    []Link
		started []string // roots of the run that a device can start from
	)
	for n, l := range links {
		change := n == 0 || !sameRoots(links[n-1].Document, l.Document)
		if change {
			started = nil
		}
		start := slices.ContainsFunc(l.signers, func(id string) bool { return !slices.Contains(started, id) })
		if change || start || n == len(links)-1 {
			kept = append(kept, l)
			started = append(started, l.signers...)
		}
	}
	return kept
}

// Size is the bytes of all envelopes.
func Size(links []Link) int {
	n := 0
	for _, l := range links {
		n += len(l.Envelope)
	}
	return n
}

// Start is the root whose fingerprint new devices are given: one that signed the newest document of the
// chain, so that they need nothing older. It is empty for an empty chain.
func Start(links []Link) string {
	if len(links) == 0 {
		return ""
	}
	newest := links[len(links)-1]
	for _, k := range newest.Document.withRole(RoleRoot) {
		if slices.Contains(newest.signers, k.ID) {
			return k.ID
		}
	}
	return ""
}

// sameRoots reports whether the same keys sign the successors of both documents.
func sameRoots(a, b *Document) bool {
	if a.Threshold(RoleRoot) != b.Threshold(RoleRoot) {
		return false
	}
	of := func(d *Document) []string {
		var ids []string
		for _, k := range d.withRole(RoleRoot) {
			ids = append(ids, k.ID)
		}
		slices.Sort(ids)
		return ids
	}
	return slices.Equal(of(a), of(b))
}
