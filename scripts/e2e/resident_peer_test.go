package e2e_test

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startOCSAgent starts the OCS Inventory agent as a daemon, lets it send its inventory to a server of this
// test, and returns its process id when it waits for the next contact; or 0, and why there is none.
func startOCSAgent(t *testing.T) (pid int, why string) {
	t.Helper()
	path := os.Getenv("MUSTER_OCS_AGENT")
	if path == "" {
		return 0, "not there"
	}
	var inventories atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answerOCS(t, w, r, &inventories) }))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	url := s.URL + "/ocsinventory"
	// It waits for a random part of so many hours before each contact: about nothing before the first one.
	home := filepath.Join(dir, strings.ReplaceAll(url, "/", "_"))
	require.NoError(t, os.MkdirAll(home, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(home, "ocsinv.conf"), []byte("<CONF><PROLOG_FREQ>0.0005</PROLOG_FREQ></CONF>"), 0o644))
	cmd := exec.Command("perl", path, "--daemon", "--nolocal", "--server="+url, "--basevardir="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Sprintf("%v %s", err, out)
	}
	find := func() int {
		all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, path := range all {
			if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), "--basevardir="+dir) {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
				return pid
			}
		}
		return 0
	}
	t.Cleanup(func() {
		if pid := find(); pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	})
	awaitFor(t, 5*time.Minute, "the OCS Inventory agent's inventory", func() (bool, string) {
		return inventories.Load() > 0, "none yet"
	})
	pid = find()
	require.Greater(t, pid, 1)
	return pid, ""
}

// answerOCS asks for an inventory, and for no further contact in the next years.
func answerOCS(t *testing.T, w http.ResponseWriter, r *http.Request, inventories *atomic.Int32) {
	in, err := zlib.NewReader(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	question, err := io.ReadAll(in)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := "<REPLY><RESPONSE>SEND</RESPONSE><PROLOG_FREQ>90000</PROLOG_FREQ></REPLY>"
	if !bytes.Contains(question, []byte("<QUERY>PROLOG</QUERY>")) {
		answer = "<REPLY><RESPONSE>NO_ACCOUNT_UPDATE</RESPONSE></REPLY>"
		t.Logf("the OCS Inventory agent sent an inventory of %d bytes", len(question))
		inventories.Add(1)
	}
	out := zlib.NewWriter(w)
	_, _ = io.WriteString(out, answer)
	_ = out.Close()
}
