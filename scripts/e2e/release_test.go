package e2e_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/packages/trust"
)

// baseVersion is that of the one agent that is linked for these tests. All others are copies of it with other digits:
// it stands nowhere else in the program.
const baseVersion = "1.0.0-e2e.70000000"

// agentVersion is the n-th version, each higher than the one before.
func agentVersion(n int) string { return fmt.Sprintf("1.0.0-e2e.%d", 70000000+n) }

var agents struct {
	sync.Mutex
	base []byte
}

// agentBytes is the agent's program in a version.
func agentBytes(t *testing.T, n int) []byte {
	t.Helper()
	agents.Lock()
	defer agents.Unlock()
	if agents.base == nil {
		path := filepath.Join(scratch, "base-agent")
		cmd := exec.Command("go", "build", "-ldflags", "-s -w -X github.com/muster/muster/packages/buildinfo.Version="+baseVersion, "-o", path, "./agent")
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		agents.base, err = os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Contains(agents.base, []byte(baseVersion)))
	}
	return bytes.ReplaceAll(agents.base, []byte(baseVersion), []byte(agentVersion(n)))
}

// agentProgram is a file with the agent's program in a version. It is written by a process of its own: a file that is
// open for writing here may be so in a child too, for a moment, and cannot be executed then.
func agentProgram(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(scratch, "agent-"+agentVersion(n))
	program := agentBytes(t, n)
	agents.Lock()
	defer agents.Unlock()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("sh", "-c", `cat >"$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1"`, "sh", path)
	cmd.Stdin = bytes.NewReader(program)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// agentScript is a program in the place of an agent: it says which version it is, and then something else happens.
func agentScript(version, then string) []byte {
	says := `[ "$1" != version ] || { echo "muster-agent ` + version + `"; exit; }`
	if strings.Contains(then, "version") {
		says = ""
	}
	return []byte("#!/bin/sh\n" + says + "\n" + then + "\n")
}

func newReleases(t *testing.T, s *server) *releases {
	t.Helper()
	r := &releases{s: s, key: newKey(t)}
	s.call(t, "POST", "/trust/keys", map[string]any{"public": []byte(r.key.PublicKey()), "roles": []string{"release"}}, nil)
	return r
}

// create makes a release of a file by the command line, as its author does.
func (r *releases) create(t *testing.T, version, path string) string {
	t.Helper()
	key := filepath.Join(t.TempDir(), "release.pem")
	require.NoError(t, trust.SaveKey(key, r.key))
	r.s.done(t, "release", "create", "--version", version, "--build", runtime.GOOS+"/"+runtime.GOARCH+"="+path, "--key", key, "--yes")
	var page struct {
		Items []struct {
			ID      string `json:"id"`
			Version string `json:"version"`
		} `json:"items"`
	}
	r.s.call(t, "GET", "/releases", nil, &page)
	require.Len(t, page.Items, 1)
	require.Equal(t, version, page.Items[0].Version)
	return page.Items[0].ID
}

// make makes a release of a program, whatever that is.
func (r *releases) make(t *testing.T, version string, program []byte, change func(*release.Release)) string {
	t.Helper()
	status, body := r.register(t, version, program, change, r.key)
	require.Equal(t, 201, status, string(body))
	var made struct {
		ID string `json:"id"`
	}
	decodeJSON(t, string(body), &made)
	return made.ID
}

func (r *releases) register(t *testing.T, version string, program []byte, change func(*release.Release), key trust.PrivateKey) (int, []byte) {
	t.Helper()
	packed := packQuickly(t, program)
	cut, err := fragment.Cut(bytes.NewReader(packed), fragment.SizeFor(int64(len(packed))), func(instruction.Fragment, []byte) error { return nil })
	require.NoError(t, err)
	cut.Format = release.ArchiveFormat
	sum := sha256.Sum256(program)
	doc := &release.Release{Format: release.Format, ID: uuid.Must(uuid.NewV7()).String(), Version: version, Builds: []release.Build{{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Archive: cut, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(program)),
	}}}
	doc.Stamp(time.Now(), 0)
	if change != nil {
		change(doc)
	}
	payload, err := doc.Encode()
	require.NoError(t, err)
	envelope, err := trust.SignEnvelope(release.PayloadType, payload, key)
	require.NoError(t, err)
	return r.s.try(t, "POST", "/releases", map[string]any{"envelope": envelope, "upload_ids": []string{r.s.upload(t, "agent.tar.gz", packed)}})
}

// packQuickly makes the archive of a release without compressing it, which is what takes an author's time.
func packQuickly(t *testing.T, program []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	zip, err := gzip.NewWriterLevel(&packed, gzip.NoCompression)
	require.NoError(t, err)
	w := tar.NewWriter(zip)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: release.ProgramName(runtime.GOOS), Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))}))
	_, err = w.Write(program)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, zip.Close())
	return packed.Bytes()
}

// processesBelow are the processes that come from one, as Linux shows them.
func processesBelow(pid int) []int {
	var all []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	parents := map[int][]int{}
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parents[parent] = append(parents[parent], child)
	}
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		all, next = append(all, parents[next[0]]...), append(next, parents[next[0]]...)
	}
	return all
}

func decodeJSON(t *testing.T, text string, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), v), text)
}
