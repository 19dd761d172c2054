//go:build linux

package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/muster/muster/scripts/chaos/verdict"
)

// errRefused is an answer of the server that is no success.
var errRefused = errors.New("refused")

// ask makes an admin API request of a server that may be killed meanwhile.
func (w *world) ask(method, path string, in any, out any, header ...string) error {
	var body io.Reader
	contentType := "application/json"
	switch in := in.(type) {
	case nil:
	case []byte:
		body, contentType = bytes.NewReader(in), "application/octet-stream"
	default:
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.api.url+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Authorization", "Bearer "+w.api.token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := w.api.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%w: %s %s: %d %s", errRefused, method, path, res.StatusCode, answer)
	}
	if out != nil {
		return json.Unmarshal(answer, out)
	}
	return nil
}

// kind is a sort of package that is handed out.
type kind struct {
	name    string
	action  string
	script  string // what the command does between its two lines in the ledger
	exit    int
	more    map[string]any
	verdict verdict.Package
}

// kinds are all three actions, with success and failure, short and long, first and later.
func kinds() []kind {
	safe := map[string]any{"rerun": "safe"}
	retry := func(attempts int) map[string]any {
		return map[string]any{"retry": map[string]any{"attempts": attempts, "delay_seconds": 1}}
	}
	// The command makes what the rule looks for; each device has its own.
	detect := map[string]any{"detect": map[string]any{"command": []string{"/bin/sh", "-c", `test -e "$MUSTER_CHAOS/installed-` + wave + `"`}}}
	// Fails at first and succeeds when it is tried again.
	second := `test -e "$MUSTER_CHAOS/tried-` + wave + `" || code=1; : >"$MUSTER_CHAOS/tried-` + wave + `"`
	first := func(more map[string]any) map[string]any { more["priority"] = 0; return more }
	return []kind{
		{"short", "execute", "", 0, map[string]any{}, verdict.Package{Runs: true, Ends: verdict.Succeeds}},
		{"long-safe", "execute", "sleep 0.7", 0, safe, verdict.Package{Runs: true, Ends: verdict.Succeeds, RerunSafe: true}},
		{"launched", "launch", "sleep 0.2", 0, map[string]any{}, verdict.Package{Runs: true, Ends: verdict.Succeeds}},
		{"failing", "execute", "sleep 0.1", 7, map[string]any{}, verdict.Package{Runs: true, Exit: 7, Ends: verdict.Fails}},
		{"failing-thrice", "execute", "", 9, retry(3), verdict.Package{Runs: true, Exit: 9, Ends: verdict.Fails}},
		{"placed", "store", "", 0, map[string]any{}, verdict.Package{Ends: verdict.Succeeds}},
		{"first", "execute", second, 0, first(map[string]any{"rerun": "safe"}), verdict.Package{Runs: true, Ends: verdict.Succeeds, RerunSafe: true, First: true}},
		{"first-launched", "launch", "sleep 0.3", 0, first(map[string]any{}), verdict.Package{Runs: true, Ends: verdict.Succeeds, First: true}},
		{"detected", "execute", `sleep 0.3; : >"$MUSTER_CHAOS/installed-` + wave + `"`, 0, detect, verdict.Package{Runs: true, Ends: verdict.Succeeds}},
		{"reboot", "launch", "", 3010 % 256, map[string]any{"exit_codes": []map[string]any{{"code": 3010 % 256, "outcome": "reboot"}}}, verdict.Package{Runs: true, Exit: 3010 % 256, Ends: verdict.Succeeds}},
	}
}

// wave stands for a package's name in scripts.
const wave = "PACKAGE"

// body is a command that writes down in the ledger, with fsync, which attempt it runs for.
func (w *world) body(k kind) string {
	return fmt.Sprintf(`attempt=$(basename "$(dirname "$(pwd)")")
note() { echo "$1 $attempt $$ $(date +%%s%%N)" | dd of='%s' oflag=append conv=notrunc,fsync status=none; }
code=%d
note begin
%s
note end
exit $code`, w.ledger, k.exit, k.script)
}

// offer makes, signs and activates a package and assigns it to all devices. Whatever is cut off is left
// as it is and begun anew, under another name.
func (w *world) offer(t *testing.T, k kind) error {
	w.made++
	name := fmt.Sprintf("%s-%d", k.name, w.made)
	script := string(bytes.ReplaceAll([]byte(w.body(k)), []byte(wave), []byte(name)))
	body := map[string]any{"name": name, "version": "1.0", "priority": 5, "action": k.action}
	var archive []byte
	switch k.action {
	case "execute":
		body["command"] = []string{"/bin/sh", "-c", script}
	case "launch":
		body["command"] = []string{"go.sh"}
		archive = tarGz(t, file{"go.sh", 0o755, []byte("#!/bin/sh\n" + script + "\n")})
	case "store":
		body["store_path"] = filepath.Join(w.store, name)
		archive = zipped(t, file{"a.txt", 0o640, []byte(name)}, file{"b/c.txt", 0o644, bytes.Repeat([]byte(name), 500)})
	}
	for key, value := range k.more {
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		body[key] = json.RawMessage(bytes.ReplaceAll(text, []byte(wave), []byte(name)))
	}
	if archive != nil {
		upload, err := w.upload(name, archive)
		if err != nil {
			return err
		}
		body["upload_id"] = upload
	}
	var made struct {
		ID string `json:"id"`
	}
	if err := w.ask("POST", "/packages", body, &made); err != nil {
		return err
	}
	known := k.verdict
	known.Name = name
	w.packages[made.ID] = known
	if err := w.ask("POST", "/packages/"+made.ID+"/sign", map[string]any{}, nil); err != nil {
		return err
	}
	if err := w.ask("POST", "/packages/"+made.ID+"/activate", nil, nil); err != nil {
		return err
	}
	var devices []string
	for n, a := range w.agents {
		if k.action == "store" && n != w.made%len(w.agents) {
			continue // the devices share one file system, which no two may change at the same place
		}
		devices = append(devices, a.device)
	}
	return w.ask("POST", "/assignments", map[string]any{"package_id": made.ID, "device_ids": devices}, nil)
}

func (w *world) upload(name string, archive []byte) (string, error) {
	var up struct {
		ID string `json:"id"`
	}
	if err := w.ask("POST", "/uploads", map[string]any{"file_name": name + ".zip", "size": len(archive)}, &up); err != nil {
		return "", err
	}
	if err := w.ask("PATCH", "/uploads/"+up.ID, archive, nil, "Upload-Offset", "0"); err != nil {
		return "", err
	}
	sum := sha256.Sum256(archive)
	return up.ID, w.ask("POST", "/uploads/"+up.ID+"/finish", map[string]any{"sha256": hex.EncodeToString(sum[:])}, nil)
}
