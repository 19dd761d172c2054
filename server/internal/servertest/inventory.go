package servertest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// Lines are a section's bytes: each row as JSON, ended by a line feed. Rows are given in the order of keys.
func Lines(t testing.TB, rows ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, r := range rows {
		require.NoError(t, enc.Encode(r))
	}
	return b.Bytes()
}

// Gzip packs data.
func Gzip(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// Inventory sends an inventory of sections as an agent does: the head, then what the server wants. It
// returns what the server wanted.
func (d *Device) Inventory(t testing.TB, sections map[string][]byte) []string {
	t.Helper()
	head := protocol.InventoryHead{Protocol: protocol.Version, CollectedAt: time.Now().UTC()}
	for name, data := range sections {
		sum := sha256.Sum256(data)
		head.Sections = append(head.Sections, protocol.SectionHead{
			Name: name, SHA256: hex.EncodeToString(sum[:]), Rows: bytes.Count(data, []byte("\n")), Bytes: int64(len(data)),
		})
	}
	var answer protocol.InventoryAnswer
	d.Do(t, http.MethodPost, protocol.PathInventory, head).JSON(t, http.StatusOK, &answer)
	for _, h := range head.Sections {
		if slices.Contains(answer.Want, h.Name) {
			res := d.PutSection(t, h.Name, h.SHA256, Gzip(t, sections[h.Name]))
			require.Equal(t, http.StatusNoContent, res.Status, "%s", res.Body)
		}
	}
	return answer.Want
}

// PutSection sends one section as it is given.
func (d *Device) PutSection(t testing.TB, name, sha256 string, packed []byte) Response {
	t.Helper()
	q := url.Values{"sha256": {sha256}, "collected_at": {time.Now().UTC().Format(time.RFC3339)}}
	return d.Do(t, http.MethodPut, protocol.PathInventory+"/"+name+"?"+q.Encode(),
		Raw{Type: protocol.SectionContentType, Data: packed}, "Content-Encoding", "gzip")
}
