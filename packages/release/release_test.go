package release_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
)

var update = flag.Bool("update", false, "write the golden file")

var issued = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func sample() *release.Release {
	build := func(goos, goarch string) release.Build {
		return release.Build{
			OS: goos, Arch: goarch, SHA256: strings.Repeat("c", 64), Size: 100,
			Archive: instruction.Archive{
				Format: release.ArchiveFormat, Size: 30, SHA256: strings.Repeat("a", 64),
				Fragments: []instruction.Fragment{{SHA256: strings.Repeat("1", 64), Length: 20}, {SHA256: strings.Repeat("2", 64), Length: 10}},
			},
		}
	}
	r := &release.Release{
		Format: release.Format, ID: "01960000-0000-7000-8000-000000000001", Version: "1.4.0",
		Builds:        []release.Build{build("linux", "amd64"), build("windows", "amd64")},
		DowngradeFrom: []string{"1.5.0"}, Notes: "less memory & <more> speed\n",
	}
	r.Stamp(issued, 0)
	return r
}

// TestGolden: what was signed once stays readable, byte for byte.
func TestGolden(t *testing.T) {
	t.Parallel()
	payload, err := sample().Encode()
	require.NoError(t, err)
	path := filepath.Join("testdata", "release.json")
	if *update {
		require.NoError(t, os.WriteFile(path, payload, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(payload))
	back, err := release.Decode(want)
	require.NoError(t, err)
	require.Equal(t, sample(), back)
	require.Equal(t, issued.Add(release.DefaultExpiry), back.ExpiresAt)
}

func TestValidate_fields(t *testing.T) {
	t.Parallel()
	require.NoError(t, sample().Validate())
	type R = release.Release
	for name, c := range map[string]struct {
		change func(r *R)
		field  string
	}{
		"format":                 {func(r *R) { r.Format = 2 }, "format"},
		"id no uuid":             {func(r *R) { r.ID = "x" }, "id"},
		"id upper case":          {func(r *R) { r.ID = strings.ToUpper("a" + r.ID[1:]) }, "id"},
		"version":                {func(r *R) { r.Version = "1.4" }, "version"},
		"version with v":         {func(r *R) { r.Version = "v1.4.0" }, "version"},
		"version long":           {func(r *R) { r.Version = "1.4.0-" + strings.Repeat("a", 60) }, "version"},
		"downgrade no version":   {func(r *R) { r.DowngradeFrom = []string{"latest"} }, "downgrade_from[0]"},
		"downgrade from below":   {func(r *R) { r.DowngradeFrom = []string{"1.3.0"} }, "downgrade_from[0]"},
		"downgrade twice":        {func(r *R) { r.DowngradeFrom = []string{"1.5.0", "1.5.0"} }, "downgrade_from[1]"},
		"downgrades many":        {func(r *R) { r.DowngradeFrom = make([]string, release.MaxDowngrades+1) }, "downgrade_from"},
		"notes long":             {func(r *R) { r.Notes = strings.Repeat("x", release.MaxNotes+1) }, "notes"},
		"notes that clear":       {func(r *R) { r.Notes = "a\x1b[2Jb" }, "notes"},
		"notes turn direction":   {func(r *R) { r.Notes = "a\u202eb" }, "notes"},
		"no issue time":          {func(r *R) { r.IssuedAt = time.Time{} }, "issued_at"},
		"expires at once":        {func(r *R) { r.ExpiresAt = r.IssuedAt }, "expires_at"},
		"no builds":              {func(r *R) { r.Builds = nil }, "builds"},
		"too many builds":        {func(r *R) { r.Builds = make([]release.Build, release.MaxBuilds+1) }, "builds"},
		"a platform twice":       {func(r *R) { r.Builds[1].OS = "linux" }, "builds[1]"},
		"os that is a path":      {func(r *R) { r.Builds[0].OS = "../x" }, "builds[0].os"},
		"no architecture":        {func(r *R) { r.Builds[1].Arch = "" }, "builds[1].arch"},
		"program empty":          {func(r *R) { r.Builds[0].Size = 0 }, "builds[0].size"},
		"program huge":           {func(r *R) { r.Builds[0].Size = release.MaxProgram + 1 }, "builds[0].size"},
		"program digest":         {func(r *R) { r.Builds[0].SHA256 = "x" }, "builds[0].sha256"},
		"archive of other kind":  {func(r *R) { r.Builds[0].Archive.Format = "zip" }, "builds[0].archive.format"},
		"archive huge":           {func(r *R) { r.Builds[0].Archive.Size = release.MaxProgram + 1 }, "builds[0].archive.size"},
		"archive digest":         {func(r *R) { r.Builds[0].Archive.SHA256 = "" }, "builds[0].archive.sha256"},
		"fragments do not add":   {func(r *R) { r.Builds[1].Archive.Size++ }, "builds[1].archive.fragments"},
		"fragment that is no id": {func(r *R) { r.Builds[0].Archive.Fragments[1].SHA256 = "/" }, "builds[0].archive.fragments[1].sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sample()
			c.change(r)
			err := r.Validate()
			require.Equal(t, fault.Invalid, fault.CodeOf(err), err)
			var fields []string
			for _, e := range flatten(err) {
				var f *fault.Error
				require.ErrorAs(t, e, &f)
				fields = append(fields, f.Field)
			}
			require.Contains(t, fields, c.field, err)
			_, err = r.Encode()
			require.Error(t, err, "an invalid document is never signed")
		})
	}
}

// flatten lists the errors that are joined in one.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var list []error
	for _, e := range joined.Unwrap() {
		list = append(list, flatten(e)...)
	}
	return list
}

func TestDecode_refuses(t *testing.T) {
	t.Parallel()
	payload, err := sample().Encode()
	require.NoError(t, err)
	good := string(payload)
	with := func(old, repl string) string {
		require.Contains(t, good, old)
		return strings.Replace(good, old, repl, 1)
	}
	for name, c := range map[string]struct {
		payload string
		reason  protocol.Reason
	}{
		"empty":               {"", protocol.ReasonMalformed},
		"unknown key":         {with(`{"format"`, `{"surprise":1,"format"`), protocol.ReasonMalformed},
		"duplicate key":       {with(`{"format":1`, `{"format":1,"format":1`), protocol.ReasonMalformed},
		"case variant":        {with(`"builds"`, `"Builds"`), protocol.ReasonMalformed},
		"hidden in a build":   {with(`"os":"linux"`, `"os":"linux","OS":"windows"`), protocol.ReasonMalformed},
		"null":                {with(`"notes":"less`, `"downgrade_from":null,"notes":"less`), protocol.ReasonMalformed},
		"trailing":            {good + "{}", protocol.ReasonMalformed},
		"not valid":           {with(`"1.4.0"`, `"one"`), protocol.ReasonMalformed},
		"wrong type":          {with(`"size":100`, `"size":"100"`), protocol.ReasonMalformed},
		"too long":            {good + strings.Repeat(" ", release.MaxBytes), protocol.ReasonMalformed},
		"newer format":        {with(`"format":1`, `"format":2,"more":true`), protocol.ReasonCritical},
		"format of no number": {with(`"format":1`, `"format":"2"`), protocol.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := release.Decode([]byte(c.payload))
			require.Nil(t, r)
			require.Equal(t, c.reason, instruction.ReasonOf(err), err)
		})
	}
}

func TestBuild_findsThePlatform(t *testing.T) {
	t.Parallel()
	r := sample()
	b, ok := r.Build("windows", "amd64")
	require.True(t, ok)
	require.Equal(t, "windows", b.OS)
	_, ok = r.Build("linux", "arm64")
	require.False(t, ok)
	require.Equal(t, []string{"linux/amd64", "windows/amd64"}, r.Platforms())
	require.Equal(t, "muster-agent.exe", release.ProgramName("windows"))
	require.Equal(t, "muster-agent", release.ProgramName("linux"))
}

// TestFollows: up always, down only from what is allowed, and never to the same.
func TestFollows(t *testing.T) {
	t.Parallel()
	r := sample() // 1.4.0, allowed from 1.5.0
	for version, want := range map[string]bool{
		"1.3.9": true, "v1.3.9-2-gabc": true, "1.4.0-rc.1": true, "dev": true, "": true,
		"1.4.0": false, "v1.4.0+abc": false, "1.4.1": false, "1.5.1": false, "1.5.0": true, "v1.5.0+build": true, "1.5.0-rc.1": false,
	} {
		require.Equal(t, want, r.Follows(version), version)
	}
	require.True(t, r.Downgrades("1.5.0"))
	require.False(t, r.Downgrades("1.3.0"), "going up needs no allowance")
}

func TestExpired(t *testing.T) {
	t.Parallel()
	r := sample()
	require.False(t, r.Expired(r.ExpiresAt.Add(-time.Nanosecond)))
	require.True(t, r.Expired(r.ExpiresAt))
}

// The examples are those of semver.org, paragraph 11.
func TestCompare(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"dev < 0.0.1 < 1.0.0-alpha < 1.0.0-alpha.1 < 1.0.0-alpha.beta < 1.0.0-beta < 1.0.0-beta.2 < 1.0.0-beta.11 < 1.0.0-rc.1 < 1.0.0",
		"1.0.0 < 2.0.0 < 2.1.0 < 2.1.1 < 2.9.0 < 2.10.0", "v1.9.0 < 1.10.0 < v1.10.1-2-gabcdef0 < 1.10.1",
	} {
		list := strings.Split(line, " < ")
		for i, a := range list {
			for j, b := range list {
				require.Equal(t, min(1, max(-1, i-j)), release.Compare(a, b), "%s against %s", a, b)
			}
		}
	}
	require.Zero(t, release.Compare("1.2.3+a", "v1.2.3+b"))
	require.Zero(t, release.Compare("1.2", "1.2.0"))
}

func TestValidVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"1.2.3": true, "0.0.0": true, "1.2.3-rc.1+5.sha": true, "1.2.3+5": true,
		"": false, "1": false, "1.2": false, "v1.2.3": false, "1.2.3 ": false, "01.2.3": false, "1.2.3-": false, "1.2.3-01": false, "1.2.x": false, "1.2.3/../..": false,
	} {
		require.Equal(t, want, release.ValidVersion(version), version)
	}
}

// FuzzDecodeRelease holds that an accepted document survives encoding unchanged.
func FuzzDecodeRelease(f *testing.F) {
	payload, err := sample().Encode()
	require.NoError(f, err)
	f.Add(payload)
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := release.Decode(data)
		if err != nil {
			require.NotEmpty(t, instruction.ReasonOf(err))
			return
		}
		payload, err := r.Encode()
		require.NoError(t, err)
		again, err := release.Decode(payload)
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
