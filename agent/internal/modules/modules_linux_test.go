package modules_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/modules"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

const manifest = `{"name":"ports","version":"1","command":["run.sh","-v"],"schedule":"@every 1h","time_limit":"2m","memory_limit":8388608,
"parameters":{"type":"object"},"default_parameters":{},"columns":[{"name":"port","type":"integer"}]}`

// put makes a module in a fresh modules folder.
func put(t *testing.T, name, manifest string) (folder string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "modules")
	dir := filepath.Join(folder, name)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.Chmod(filepath.Dir(folder), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, modules.ManifestFile), []byte(manifest), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "run.sh"), []byte("#!/bin/sh\n"), 0o700))
	return folder
}

func TestLoad(t *testing.T) {
	t.Parallel()
	folder := put(t, "ports", manifest)
	m, err := modules.Load(folder, "ports")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(folder, "ports", "run.sh"), m.Program)
	require.Equal(t, 2*time.Minute, time.Duration(m.TimeLimit))
	names, err := modules.Names(folder)
	require.NoError(t, err)
	require.Equal(t, []string{"ports"}, names)
	_, err = modules.Load(folder, "other")
	require.True(t, fault.Is(err, fault.NotFound), "%v", err)
	_, err = modules.Load(folder, "../modules/ports")
	require.True(t, fault.Is(err, fault.NotFound), "%v", err)
	names, err = modules.Names(filepath.Join(folder, "no"))
	require.NoError(t, err)
	require.Empty(t, names)
}

func TestLoad_refuses(t *testing.T) {
	t.Parallel()
	replace := func(old, with string) string { return strings.Replace(manifest, old, with, 1) }
	for name, c := range map[string]struct {
		manifest string
		spoil    func(t *testing.T, dir string)
		says     string
	}{
		"another name":          {manifest: replace(`"ports"`, `"gates"`), says: "must be that of its folder"},
		"no name":               {manifest: replace(`"ports"`, `""`), says: "is not the name of a module"},
		"no version":            {manifest: replace(`"version":"1"`, `"version":""`), says: "version"},
		"no command":            {manifest: replace(`["run.sh","-v"]`, `[]`), says: "command"},
		"command elsewhere":     {manifest: replace(`run.sh`, `../run.sh`), says: "within the module's folder"},
		"command of the system": {manifest: replace(`run.sh`, `/bin/sh`), says: "within the module's folder"},
		"command missing":       {manifest: replace(`run.sh`, `none.sh`), says: "no such file"},
		"command the folder":    {manifest: replace(`run.sh`, `.`), says: "within the module's folder"},
		"schedule":              {manifest: replace(`@every 1h`, `often`), says: "schedule"},
		"too often":             {manifest: replace(`@every 1h`, `@every 1s`), says: "too often"},
		"too long":              {manifest: replace(`"2m"`, `"11m"`), says: "time_limit"},
		"no memory":             {manifest: replace(`8388608`, `-1`), says: "memory_limit"},
		"unknown type":          {manifest: replace(`"integer"`, `"int"`), says: "type"},
		"column key":            {manifest: replace(`"port"`, `"key"`), says: "column"},
		"unknown key":           {manifest: replace(`"version"`, `"verzion"`), says: "unknown key"},
		"key twice":             {manifest: replace(`"version":"1"`, `"version":"1","version":"2"`), says: "twice"},
		"no JSON":               {manifest: `name: ports`, says: "cannot be read"},
		"much too long":         {manifest: strings.Repeat(" ", 70_000), says: "over 65536 bytes"},
		"deep":                  {manifest: replace(`{"type":"object"}`, strings.Repeat(`{"not":`, 20)+"{}"+strings.Repeat("}", 20)), says: "nested deeper"},
		"not executable":        {spoil: func(t *testing.T, dir string) { require.NoError(t, os.Chmod(filepath.Join(dir, "run.sh"), 0o600)) }, says: "chmod u+x"},
		"open manifest":         {spoil: func(t *testing.T, dir string) { require.NoError(t, os.Chmod(filepath.Join(dir, "module.json"), 0o666)) }, says: "chmod go-w"},
		"open folder":           {spoil: func(t *testing.T, dir string) { require.NoError(t, os.Chmod(dir, 0o770)) }, says: "chmod go-w"},
		"open modules folder":   {spoil: func(t *testing.T, dir string) { require.NoError(t, os.Chmod(filepath.Dir(dir), 0o777)) }, says: "everybody may write"},
		"linked command": {spoil: func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "run.sh")))
			require.NoError(t, os.Symlink("/bin/sh", filepath.Join(dir, "run.sh")))
		}, says: "it is a link"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.manifest == "" {
				c.manifest = manifest
			}
			folder := put(t, "ports", c.manifest)
			if c.spoil != nil {
				c.spoil(t, filepath.Join(folder, "ports"))
			}
			_, err := modules.Load(folder, "ports")
			require.ErrorContains(t, err, c.says)
			require.False(t, fault.Is(err, fault.NotFound))
		})
	}
}

func TestPrint_differsWhenSomethingChanged(t *testing.T) {
	t.Parallel()
	folder := put(t, "ports", manifest)
	first := modules.Print(folder)
	require.NotEmpty(t, first)
	require.Equal(t, first, modules.Print(folder))
	require.NoError(t, os.Chmod(filepath.Join(folder, "ports", "run.sh"), 0o755))
	second := modules.Print(folder)
	require.NotEqual(t, first, second)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ports", "module.json"), []byte("{}"), 0o600))
	require.NotEqual(t, second, modules.Print(folder))
	require.NoError(t, os.RemoveAll(filepath.Join(folder, "ports")))
	require.Empty(t, modules.Print(folder))
}

func TestResults_areKeptWhole(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	results := modules.ResultsOf(data)
	_, _, err := results.Load("ports")
	require.True(t, fault.Is(err, fault.NotFound))
	rows := []byte(`{"key":"a","name":"A"}` + "\n")
	sum := sha256.Sum256(rows)
	res := modules.Result{ID: "1", Module: "ports", Rows: 1, SHA256: hex.EncodeToString(sum[:]), Columns: []protocol.Column{{Name: "port", Type: protocol.ColumnInteger}}}
	require.NoError(t, results.Save(res, rows))
	back, got, err := results.Load("ports")
	require.NoError(t, err)
	require.Equal(t, res, back)
	require.Equal(t, rows, got)
	names, err := results.Names()
	require.NoError(t, err)
	require.Equal(t, []string{"ports"}, names)

	// What was damaged is no result, and no error that would come again and again.
	file := filepath.Join(data, "module-results", "ports.result")
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, bad := range [][]byte{whole[:len(whole)-3], whole[:20], nil, []byte("{}\n")} {
		require.NoError(t, os.WriteFile(file, bad, 0o600))
		_, _, err = results.Load("ports")
		require.True(t, fault.Is(err, fault.NotFound), "%v", err)
	}
	require.NoError(t, results.Remove("ports"))
	names, err = results.Names()
	require.NoError(t, err)
	require.Empty(t, names)
}

// A module that is new runs at once, others when their schedule says so: neither a restart nor a clock that was set
// back makes them run early or never.
func TestPlan(t *testing.T) {
	t.Parallel()
	results := modules.ResultsOf(t.TempDir())
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	found := []modules.State{{Name: "a", Schedule: "@every 1h"}, {Name: "asked"}, {Name: "b", Schedule: "@every 2h"}}
	p := results.LoadPlan()
	p.Adjust(found, now)
	name, at := p.Due()
	require.Equal(t, "a", name)
	require.Equal(t, now, at)
	p.Begin("a", now)
	require.NoError(t, results.SavePlan(p))

	p = results.LoadPlan()
	p.Adjust(found, now.Add(time.Minute))
	name, _ = p.Due()
	require.Equal(t, "b", name)
	p.Begin("b", now)
	name, at = p.Due()
	require.Equal(t, "a", name)
	require.WithinRange(t, at, now.Add(time.Hour), now.Add(time.Hour+time.Minute))

	back := now.Add(-24 * time.Hour)
	p.Adjust(found, back)
	_, at = p.Due()
	require.WithinRange(t, at, back.Add(time.Hour), back.Add(time.Hour+time.Minute))

	found[0].Schedule = "@every 10m"
	p.Begin("b", now)
	p.Adjust(found, now)
	name, at = p.Due()
	require.Equal(t, "a", name)
	require.WithinRange(t, at, now.Add(10*time.Minute), now.Add(11*time.Minute))
	p.Adjust(nil, now)
	name, _ = p.Due()
	require.Empty(t, name)
}

// Whatever a manifest holds, it is refused or within its bounds.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(manifest))
	f.Add([]byte(`{"name":"a","version":"1","command":["x/../../y"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := modules.Parse(data)
		if err != nil {
			require.NotEqual(t, fault.Internal, fault.CodeOf(err), "%v", err)
			return
		}
		require.True(t, filepath.IsLocal(m.Command[0]))
		require.LessOrEqual(t, time.Duration(m.TimeLimit), modules.MaxTimeLimit)
		require.Positive(t, m.MemoryLimit)
	})
}

// Whatever a crash or a broken disk left of a result or the plan, it reads as what was written, or as nothing.
func FuzzKept(f *testing.F) {
	f.Add([]byte(`{"id":"1","module":"ports"}`+"\n"), []byte(`{"modules":{"ports":{"schedule":"@every 1h"}}}`))
	f.Add([]byte("{}"), []byte("null"))
	f.Fuzz(func(t *testing.T, result, plan []byte) {
		data := t.TempDir()
		results := modules.ResultsOf(data)
		require.NoError(t, results.Make())
		require.NoError(t, os.WriteFile(filepath.Join(data, "module-results", "ports.result"), result, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(data, "module-results", "plan.json"), plan, 0o600))
		if res, _, err := results.Load("ports"); err == nil {
			require.Equal(t, "ports", res.Module)
		} else {
			require.True(t, fault.Is(err, fault.NotFound), "%v", err)
		}
		p := results.LoadPlan()
		p.Adjust([]modules.State{{Name: "ports", Schedule: "@every 1h"}}, time.Now())
		name, _ := p.Due()
		require.Equal(t, "ports", name)
	})
}
