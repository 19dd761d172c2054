package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// module writes a module into a device's folder, as its administrator does: a shell script, with what of the manifest
// is not as usual.
func (a *agent) module(t *testing.T, name, script string, manifest map[string]any) (folder string) {
	t.Helper()
	whole := map[string]any{
		"name": name, "version": "1", "command": []string{"run.sh"}, "schedule": "@every 24h", "time_limit": "5m",
		"columns": []map[string]any{{"name": "size", "title": "Size", "type": "bytes"}},
	}
	for key, value := range manifest {
		whole[key] = value
	}
	data, err := json.Marshal(whole)
	require.NoError(t, err)
	return a.place(t, name, map[string][]byte{"module.json": data, "run.sh": []byte("#!/bin/sh\n" + script)})
}

// place puts a module into its place at once, whole.
func (a *agent) place(t *testing.T, name string, files map[string][]byte) (folder string) {
	t.Helper()
	made := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.Mkdir(made, 0o700))
	for file, data := range files {
		require.NoError(t, os.WriteFile(filepath.Join(made, file), data, 0o700))
	}
	folder = filepath.Join(a.data, "modules", name)
	require.NoError(t, os.MkdirAll(filepath.Dir(folder), 0o700))
	require.NoError(t, os.Rename(made, folder))
	return folder
}

// example is a module of the repository with other default parameters, and with time for a busy computer.
func (a *agent) example(t *testing.T, name string, parameters map[string]any) {
	t.Helper()
	source := filepath.Join("..", "..", "docs", "examples", "modules", name)
	entries, err := os.ReadDir(source)
	require.NoError(t, err)
	files := map[string][]byte{}
	for _, e := range entries {
		files[e.Name()], err = os.ReadFile(filepath.Join(source, e.Name()))
		require.NoError(t, err)
	}
	var manifest map[string]any
	require.NoError(t, json.Unmarshal(files["module.json"], &manifest))
	manifest["time_limit"], manifest["default_parameters"] = "10m", parameters
	files["module.json"], err = json.Marshal(manifest)
	require.NoError(t, err)
	a.place(t, name, files)
}

// moduleRows is the section of a module.
type moduleRows struct {
	Columns []struct {
		Name, Title, Type string
	} `json:"columns"`
	Problem    string           `json:"problem"`
	Rows       int              `json:"rows"`
	ReceivedAt *time.Time       `json:"received_at"`
	Items      []map[string]any `json:"items"`
	Next       string           `json:"next"`
}

// moduleRows reads all pages: what a module finds depends on the computer, as the ports that other tests listen on.
func (s *server) moduleRows(t *testing.T, device, module string) (rows moduleRows) {
	t.Helper()
	var items []map[string]any
	for cursor := ""; ; {
		rows = moduleRows{}
		s.call(t, "GET", "/devices/"+device+"/inventory/module-"+module+"?limit=200&cursor="+url.QueryEscape(cursor), nil, &rows)
		items = append(items, rows.Items...)
		if cursor = rows.Next; cursor == "" {
			rows.Items = items
			return rows
		}
	}
}

// awaitModule waits until the server has a section of the module that is as wanted.
func (s *server) awaitModule(t *testing.T, a *agent, module string, wanted func(section) bool) {
	t.Helper()
	await(t, "section of module "+module, func() (bool, string) {
		one, there := s.sections(t, a.device)["module-"+module]
		return there && wanted(one), one.Problem + "\n" + tail(a.output(), 4<<10)
	})
}

// runModule asks for a run and waits for its end.
func (s *server) runModule(t *testing.T, a *agent, module string, parameters map[string]any, state string) serverTask {
	t.Helper()
	var task serverTask
	s.call(t, "POST", "/devices/"+a.device+"/modules/"+module+"/run", map[string]any{"parameters": parameters}, &task)
	return s.awaitTask(t, task.ID, state)
}

// moduleProcesses are the processes that modules of a device have started, by what only they have in their
// environment.
func (a *agent) moduleProcesses(t *testing.T) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(data, []byte("MUSTER_MODULE_DIR="+a.data+"/")) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (a *agent) awaitNoModuleProcess(t *testing.T) {
	t.Helper()
	await(t, "no process of a module", func() (bool, string) {
		pids := a.moduleProcesses(t)
		return len(pids) == 0, strconv.Itoa(len(pids)) + " live"
	})
}

// awaitStatus waits until the agent says something of itself; it writes that down once a second at most.
func (a *agent) awaitStatus(t *testing.T, says string) {
	t.Helper()
	await(t, "the status to say "+says, func() (bool, string) {
		status := succeed(t, nil, "muster-agent", "status", "--data", a.data)
		return strings.Contains(status, says), status
	})
}

// TestModule_examples: the examples run by themselves and when asked, and their rows are on the server with types;
// parameters that a schema does not allow are refused; modules come and go while the agent runs.
func TestModule_examples(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := enroll(t, s, s.enrollment(t))
	tree := t.TempDir()
	for name, size := range map[string]int{"large": 3 << 20, `odd "name"\`: 2 << 20, "small": 10} {
		require.NoError(t, os.Mkdir(filepath.Join(tree, name), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(tree, name, "file"), bytes.Repeat([]byte("x"), size), 0o600))
	}
	a.example(t, "large-directories", map[string]any{"path": tree, "minimum_bytes": 1 << 20, "most": 100})
	tried := succeed(t, nil, "muster-agent", "module", "run", filepath.Join(a.data, "modules", "large-directories"), "--parameters", `{"most":1}`)
	require.Equal(t, 1, strings.Count(tried, "\n"), tried)
	require.Contains(t, tried, `"key":"`+tree+`"`)
	r := command(t, nil, "muster-agent", "module", "run", filepath.Join(a.data, "modules", "large-directories"), "--parameters", `{"most":0}`)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "does not take these parameters")
	a.run(t)

	received := func(one section) bool { return one.ReceivedAt != nil && one.Problem == "" }
	s.awaitModule(t, a, "large-directories", received)
	rows := s.moduleRows(t, a.device, "large-directories")
	require.Equal(t, "bytes", rows.Columns[0].Type)
	require.Equal(t, "Size", rows.Columns[0].Title)
	names := map[string]float64{}
	for _, row := range rows.Items {
		names[row["name"].(string)] = row["size"].(float64)
	}
	require.Len(t, names, 3, "%v", names) // and the tree itself
	require.GreaterOrEqual(t, names["large"], float64(3<<20))
	require.Contains(t, names, `odd "name"\`)

	// Another one comes while the agent runs.
	a.example(t, "listening-ports", map[string]any{"protocols": []string{"tcp"}, "loopback": false})
	s.awaitModule(t, a, "listening-ports", received)
	_, port, _ := strings.Cut(strings.TrimPrefix(s.url, "https://"), ":")
	task := s.runModule(t, a, "listening-ports", map[string]any{"loopback": true}, "succeeded")
	require.Equal(t, "done", task.Reason)
	rows = s.moduleRows(t, a.device, "listening-ports")
	found := false
	for _, row := range rows.Items {
		if row["address"] == "127.0.0.1" && strconv.FormatFloat(row["port"].(float64), 'f', -1, 64) == port {
			found = true
			require.Equal(t, "muster-server", row["program"])
			require.Equal(t, true, row["loopback"])
			_, err := time.Parse(time.RFC3339, row["since"].(string))
			require.NoError(t, err)
		}
	}
	require.True(t, found, "port %s is not among %v", port, rows.Items)

	task = s.runModule(t, a, "listening-ports", map[string]any{"loopback": "yes"}, "refused")
	require.Equal(t, "parameters", task.Reason)
	require.Contains(t, task.Message, "loopback")
	task = s.runModule(t, a, "listening-ports", map[string]any{"loopbak": true}, "refused")
	require.Equal(t, "parameters", task.Reason)
	task = s.runModule(t, a, "unknown", nil, "refused")
	require.Equal(t, "no_module", task.Reason)

	r = s.muster(t, "device", "module", "run", a.device, "large-directories", "--param", "most=1", "--wait", "--timeout", "1m")
	require.Zero(t, r.code, r.stderr)
	require.Contains(t, r.stdout, "SIZE")
	require.Contains(t, r.stdout, "MiB")
	require.Equal(t, 1, s.moduleRows(t, a.device, "large-directories").Rows)
	await(t, "both modules in the list", func() (bool, string) {
		r := s.muster(t, "device", "module", "list", a.device)
		return strings.Contains(r.stdout, "large-directories") && strings.Contains(r.stdout, "listening-ports"), r.stdout
	})
	a.awaitStatus(t, "module listening-ports 1.0  last ")

	require.NoError(t, os.Rename(filepath.Join(a.data, "modules", "listening-ports"), filepath.Join(t.TempDir(), "gone")))
	await(t, "the section of a module that has gone to be gone", func() (bool, string) {
		_, there := s.sections(t, a.device)["module-listening-ports"]
		return !there, tail(a.output(), 4<<10)
	})
	require.Contains(t, s.sections(t, a.device), "module-large-directories")
	a.awaitNoModuleProcess(t)
}

// TestModule_documentation: the module that docs/modules.md writes in ten minutes runs as it stands there.
func TestModule_documentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/modules.md")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "```json\n")
	manifest, rest, _ := strings.Cut(rest, "```")
	_, rest, found := strings.Cut(rest, "```text\n#!/bin/sh")
	script, _, _ := strings.Cut(rest, "```")
	require.True(t, found)
	a := &agent{data: t.TempDir()}
	folder := a.place(t, "kernel-messages", map[string][]byte{"module.json": []byte(manifest), "run.sh": []byte("#!/bin/sh" + script)})
	out := succeed(t, nil, "muster-agent", "module", "run", folder, "--parameters", `{"levels":"crit,err"}`)
	require.Equal(t, 2, strings.Count(out, `"count":`), out)
}

// TestModule_severalServers: what a module finds goes to each server that may have it; one that is away gets it when it
// is back, and disturbs no other.
func TestModule_severalServers(t *testing.T) {
	t.Parallel()
	open, denied, away := startServer(t, ""), startServer(t, ""), startServer(t, "")
	a := enroll(t, open, open.enrollment(t))
	ids := map[*server]string{open: a.device, denied: a.enrollAs(t, denied, "denied"), away: a.enrollAs(t, away, "away")}
	a.configure(t, map[string]any{"servers": []map[string]any{{"name": "denied", "tasks_allowed": []string{"inventory"}}}})
	away.stop(t)
	a.module(t, "counts", `echo '{"row":{"key":"a","name":"A","size":5}}' >&3`, nil)
	a.run(t)
	has := func(s *server) func() (bool, string) {
		return func() (bool, string) {
			one, there := s.sections(t, ids[s])["module-counts"]
			return there && one.Rows == 1, tail(a.output(), 4<<10)
		}
	}
	await(t, "the rows at the first server", has(open))
	await(t, "an inventory at the one that may have nothing else", func() (bool, string) {
		_, there := denied.sections(t, ids[denied])["cpus"]
		return there, tail(a.output(), 4<<10)
	})
	var task serverTask
	denied.call(t, "POST", "/devices/"+ids[denied]+"/modules/counts/run", map[string]any{}, &task)
	require.Equal(t, "not_allowed", denied.awaitTask(t, task.ID, "refused").Reason)
	require.NotContains(t, denied.sections(t, ids[denied]), "module-counts")

	away.launch(t)
	a.stop(t)
	a.run(t) // it need not wait for the growing pauses
	await(t, "the rows at the server that was away", has(away))
	require.NotContains(t, denied.sections(t, ids[denied]), "module-counts")
}

// TestModule_bad: whatever a module does wrong, it is ended with all that it started, its section says why and keeps
// the rows it had, and the others run.
func TestModule_bad(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := enroll(t, s, s.enrollment(t))
	row := `echo '{"row":{"key":"a","name":"A","size":5}}' >&3` + "\n"
	a.module(t, "good", row+`echo '{"problem":"half of it is missing"}' >&3`, nil)
	a.module(t, "eats", row+`(head -c 80000000 /dev/zero; sleep 600) | tail -c +2 | (tail; sleep 600)`, map[string]any{"memory_limit": 40 << 20})
	a.module(t, "hangs", row+`trap "" TERM; setsid sleep 600 & while :; do sleep 600; done`, map[string]any{"time_limit": "1s"})
	a.module(t, "babbles", row+`echo no event >&3; sleep 600`, nil)
	a.module(t, "untyped", `echo '{"row":{"key":"a","size":"large"}}' >&3; sleep 600`, nil)
	a.module(t, "floods", `yes '{"row":{"key":"a","name":"A","size":5}}' >&3`, nil)
	a.module(t, "fails", row+`read -r in; case $in in *true*) echo alas; exit 3;; esac`, map[string]any{
		"parameters":         map[string]any{"type": "object", "properties": map[string]any{"fail": map[string]any{"type": "boolean"}}, "additionalProperties": false},
		"default_parameters": map[string]any{"fail": false},
	})
	open := filepath.Join(a.module(t, "open", row, nil), "run.sh")
	require.NoError(t, os.Chmod(open, 0o777))
	a.module(t, "wrong", row, map[string]any{"shedule": "@every 1h"})
	a.module(t, "remote", row, map[string]any{"parameters": map[string]any{"$ref": "https://example.com/schema"}})
	a.run(t)

	for module, says := range map[string]string{
		"good": "half of it is missing", "eats": "more memory than its limit", "hangs": "longer than its limit", "babbles": "no event",
		"untyped": "is no bytes", "floods": "two rows with the key", "open": "chmod go-w", "wrong": "shedule", "remote": "$ref",
	} {
		s.awaitModule(t, a, module, func(one section) bool { return strings.Contains(one.Problem, says) })
	}
	a.awaitNoModuleProcess(t)
	require.Equal(t, 1, s.moduleRows(t, a.device, "good").Rows)
	require.Zero(t, s.moduleRows(t, a.device, "floods").Rows)
	a.awaitStatus(t, "module open  does not run: ")
	require.Contains(t, a.output(), "chmod go-w")

	// A run that fails keeps the rows of the one before.
	s.awaitModule(t, a, "fails", func(one section) bool { return one.Rows == 1 && one.Problem == "" })
	task := s.runModule(t, a, "fails", map[string]any{"fail": true}, "failed")
	require.Equal(t, "exit_code", task.Reason)
	require.Contains(t, task.Message, "exit code 3; it wrote at last: alas")
	rows := s.moduleRows(t, a.device, "fails")
	require.Equal(t, 1, rows.Rows)
	require.Contains(t, rows.Problem, "exit code 3")
	require.Equal(t, "memory", s.runModule(t, a, "eats", nil, "failed").Reason)
	require.Equal(t, "no_module", s.runModule(t, a, "open", nil, "refused").Reason)

	// Put right, it runs by itself.
	require.NoError(t, os.Chmod(open, 0o755))
	s.awaitModule(t, a, "open", func(one section) bool { return one.Rows == 1 && one.Problem == "" })
	a.awaitNoModuleProcess(t)
}

// TestModule_killedAgent: no process of a module outlives its agent, and what a restart finds is told truly.
func TestModule_killedAgent(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	a := enroll(t, s, s.enrollment(t))
	begun := filepath.Join(t.TempDir(), "begun")
	a.module(t, "sleeps", `trap "" TERM; echo x >>'`+begun+`'; MUSTER_RUNNER=1 setsid sleep 600 & sleep 600`, nil)
	a.run(t)
	count := func() int {
		data, _ := os.ReadFile(begun)
		return len(data) / 2
	}
	await(t, "the scheduled run", func() (bool, string) { return count() == 1, a.output() })
	a.kill()
	a.awaitNoModuleProcess(t)

	a.run(t)
	s.awaitConnected(t, a.device)
	var task serverTask
	s.call(t, "POST", "/devices/"+a.device+"/modules/sleeps/run", map[string]any{}, &task)
	await(t, "the run that was asked for, and no other", func() (bool, string) { return count() == 2, a.output() })
	s.awaitTask(t, task.ID, "started")
	a.kill()
	a.awaitNoModuleProcess(t)
	a.run(t)
	require.Equal(t, "no_status", s.awaitTask(t, task.ID, "interrupted").Reason)
	require.Equal(t, 2, count(), "begun anew")
}
