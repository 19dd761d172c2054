package e2e_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
)

// hostileArchive is refused with a reason that holds the text.
type hostileArchive struct {
	format string
	data   []byte
	why    string
}

// hostileArchives are one of each kind; packages/archive has the whole corpus.
func hostileArchives(t *testing.T, victim string) map[string]hostileArchive {
	t.Helper()
	tarOf := func(headers ...tar.Header) []byte {
		var b bytes.Buffer
		gz := gzip.NewWriter(&b)
		w := tar.NewWriter(gz)
		for _, h := range append([]tar.Header{{Name: "run.sh", Typeflag: tar.TypeReg, Mode: 0o755}}, headers...) {
			require.NoError(t, w.WriteHeader(&h))
		}
		require.NoError(t, w.Close())
		require.NoError(t, gz.Close())
		return b.Bytes()
	}
	zeros := zipped(t, file{"run.sh", 0o755, []byte("#!/bin/sh\n")}, file{"zeros", 0o644, make([]byte, 80<<20)})
	lying := zipped(t, file{"run.sh", 0o755, []byte("#!/bin/sh\n")}, file{"a", 0o644, []byte("content")})
	lying[bytes.LastIndex(lying, []byte("PK\x01\x02"))+24] = 200 // its size
	var special bytes.Buffer
	w := zip.NewWriter(&special)
	h := &zip.FileHeader{Name: "run.sh"}
	h.SetMode(fs.ModeNamedPipe | 0o600)
	_, err := w.CreateHeader(h)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	good := tarOf()
	return map[string]hostileArchive{
		"parent path":   {"tar.gz", tarGz(t, file{"run.sh", 0o755, nil}, file{"../../../../evil", 0o644, nil}), `"." or ".." element`},
		"absolute path": {"zip", zipped(t, file{"run.sh", 0o755, nil}, file{victim, 0o644, nil}), "absolute path"},
		"link out":      {"tar.gz", tarOf(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: victim}), "link to an absolute path"},
		"link chain":    {"tar.gz", tarOf(tar.Header{Name: "d/up", Typeflag: tar.TypeSymlink, Linkname: ".."}, tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "d/up/../evil"}), "leads out of the archive"},
		"hard link out": {"tar.gz", tarOf(tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: victim}), "absolute path"},
		"device node":   {"tar.gz", tarOf(tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}), "device, pipe or another special file"},
		"pipe":          {"zip", special.Bytes(), "device, pipe or another special file"},
		"collision":     {"zip", zipped(t, file{"run.sh", 0o755, nil}, file{"RUN.sh", 0o755, nil}), "ignore case"},
		"reserved name": {"tar.gz", tarGz(t, file{"run.sh", 0o755, nil}, file{"nul.txt", 0o644, nil}), "Windows reserves"},
		"bomb":          {"zip", zeros, "more than 200 times its size"},
		"lying size":    {"zip", lying, "damaged"},
		"cut short":     {"tar.gz", good[:len(good)-9], "damaged"},
	}
}

// TestHostileArchives shows that the author's tool and the server refuse such an archive before anything
// is made of it; and that a device refuses it when a server offers it all the same, signed by a key that
// the device trusts, with the reason on the timeline and nothing on its disk.
func TestHostileArchives(t *testing.T) {
	t.Parallel()
	p := startTamperer(t)
	a := enroll(t, p.s, p.s.enrollment(t))
	victim := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("untouched"), 0o600))
	for name, c := range hostileArchives(t, victim) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "hostile."+c.format)
			require.NoError(t, os.WriteFile(path, c.data, 0o600))
			r := p.s.muster(t, "package", "create", path, "--name", "hostile", "--version", "1", "--action", "launch", "--", "run.sh")
			require.NotZero(t, r.code)
			require.Contains(t, r.stderr, c.why, "the author's tool")

			status, body := p.s.finishUpload(t, c.data)
			require.Equal(t, 422, status, string(body))
			require.Contains(t, detailOf(t, body), c.why, "the server")

			d := offerAnyway(t, p, a, c)
			require.Equal(t, "refused archive_refused", d.State+" "+d.Reason, d.story())
			require.Contains(t, d.entry("refused", "archive_refused").Message, c.why, "the device")
			require.Nil(t, d.entry("unpacked", ""), d.story())
			require.Nil(t, d.entry("started", ""), d.story())
		})
	}
	got, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "untouched", string(got))
	require.NoError(t, filepath.WalkDir(a.data, func(path string, e fs.DirEntry, err error) error {
		require.NotContains(t, []string{"tree", "run.sh", "evil"}, filepath.Base(path), "left behind: %s", path)
		return err
	}))
}

// finishUpload sends an archive past the command line, which would not.
func (s *server) finishUpload(t *testing.T, data []byte) (int, []byte) {
	t.Helper()
	var up struct {
		ID     string `json:"id"`
		Offset int64  `json:"offset"`
	}
	s.call(t, "POST", "/uploads", map[string]any{"file_name": "hostile", "size": len(data)}, &up)
	status, body := s.try(t, "PATCH", "/uploads/"+up.ID, data, "Upload-Offset", strconv.Itoa(0))
	require.Equal(t, 200, status, string(body))
	sum := sha256.Sum256(data)
	return s.try(t, "POST", "/uploads/"+up.ID+"/finish", map[string]any{"sha256": hex.EncodeToString(sum[:])})
}

func detailOf(t *testing.T, body []byte) string {
	t.Helper()
	var problem struct {
		Detail string `json:"detail"`
	}
	require.NoError(t, json.Unmarshal(body, &problem), string(body))
	return problem.Detail
}

// offerAnyway puts the archive into an honest package on its way to the device, under the server's key.
func offerAnyway(t *testing.T, p *tamperer, a *agent, c hostileArchive) deployment {
	t.Helper()
	id := p.s.offer(t, spec{Name: "honest-" + filepath.Base(t.Name()), Priority: 5, Action: "launch", Command: []string{"run.sh"}, File: "a.tar.gz", Archive: tarGz(t, script("run.sh", "exit 0"))})
	meta, err := fragment.Cut(bytes.NewReader(c.data), fragment.DefaultSize, func(instruction.Fragment, []byte) error { return nil })
	require.NoError(t, err)
	require.Len(t, meta.Fragments, 1)
	meta.Format = c.format
	key := p.s.key(t, "server")
	p.suffer(a.device, &tampering{
		envelope: func(original []byte) []byte {
			return seal(t, edited(t, original, func(i *instruction.Instruction) { i.Archive = &meta }), key)
		},
		fragment: func([]byte) []byte { return c.data },
	})
	deployment, _ := p.s.assign(t, id, a.device)
	a.once(t)
	return p.s.deployment(t, deployment)
}
