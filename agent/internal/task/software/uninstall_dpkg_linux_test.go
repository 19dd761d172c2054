package software

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func relationsOf(t *testing.T, text string) []relations {
	t.Helper()
	var all []relations
	require.NoError(t, parseRelations(strings.NewReader(text), func(p relations) { all = append(all, p) }))
	return all
}

func TestDependants(t *testing.T) {
	t.Parallel()
	foreign := strings.Replace(stanza("foreign", "Multi-Arch: foreign"), "amd64", "i386", 1)
	everywhere := strings.Replace(stanza("script", "Depends: lib"), "amd64", "all", 1)
	cases := map[string]struct {
		packages []string
		want     string
	}{
		"nobody":                                   {[]string{stanza("lib"), stanza("other")}, ""},
		"directly":                                 {[]string{stanza("lib"), stanza("a", "Depends: x, lib (>= 1), y")}, "a"},
		"recommended only":                         {[]string{stanza("lib"), stanza("a", "Recommends: lib", "Suggests: lib", "Enhances: lib")}, ""},
		"through others":                           {[]string{stanza("c", "Depends: b"), stanza("b", "Pre-Depends: a"), stanza("a", "Depends: lib"), stanza("lib")}, "a b c"},
		"another serves":                           {[]string{stanza("lib"), stanza("lib2"), stanza("a", "Depends: lib | lib2")}, ""},
		"another serves by providing":              {[]string{stanza("lib"), stanza("lib2", "Provides: z, lib (= 3)"), stanza("a", "Depends: lib")}, ""},
		"the other goes, too":                      {[]string{stanza("lib"), stanza("lib2", "Depends: lib"), stanza("a", "Depends: lib | lib2")}, "a lib2"},
		"what it provides":                         {[]string{stanza("lib", "Provides: virtual"), stanza("a", "Depends: virtual")}, "a"},
		"itself":                                   {[]string{stanza("lib", "Depends: virtual", "Provides: virtual")}, ""},
		"a circle":                                 {[]string{stanza("lib", "Depends: a"), stanza("a", "Depends: lib")}, "a"},
		"was unmet before":                         {[]string{stanza("lib"), stanza("a", "Depends: missing")}, ""},
		"its settings are left only":               {[]string{stanza("lib"), strings.Replace(stanza("a", "Depends: lib"), "ok installed", "ok config-files", 1)}, ""},
		"half-configured needs it, too":            {[]string{stanza("lib"), strings.Replace(stanza("a", "Depends: lib"), "ok installed", "ok half-configured", 1)}, "a"},
		"of another architecture":                  {[]string{stanza("lib"), strings.Replace(stanza("lib"), "amd64", "i386", 1), stanza("a", "Depends: lib")}, "a"},
		"of any architecture":                      {[]string{stanza("lib"), strings.Replace(stanza("lib"), "amd64", "i386", 1), stanza("a", "Depends: lib:any")}, ""},
		"served by a foreign one":                  {[]string{stanza("lib", "Provides: foreign"), foreign, stanza("a", "Depends: foreign")}, ""},
		"of no architecture":                       {[]string{stanza("lib"), everywhere}, "script"},
		"build profile and architecture qualifier": {[]string{stanza("lib"), stanza("a", "Depends: lib [amd64] <!nocheck>")}, "a"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := slices.DeleteFunc(relationsOf(t, strings.Join(c.packages, "\n")), func(p relations) bool { return !p.there })
			require.Equal(t, c.want, strings.Join(dependants(all, "lib", "amd64"), " "))
		})
	}
}

// TestDependants_afterDpkgWasCutOff has dpkg's notes say that who needed the library is gone by now.
func TestDependants_afterDpkgWasCutOff(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	updates := filepath.Join(root, dpkgDir, "updates")
	require.NoError(t, os.MkdirAll(updates, 0o755))
	write := func(path, text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	write(filepath.Join(root, dpkgDir, "status"), stanza("lib")+"\n"+stanza("a", "Depends: lib"))
	all, err := readRelations(root)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, dependants(all, "lib", "amd64"))
	write(filepath.Join(updates, "0001"), strings.Replace(stanza("a"), "install ok installed", "deinstall ok config-files", 1))
	write(filepath.Join(updates, "tmp.i"), stanza("b", "Depends: lib"))
	all, err = readRelations(root)
	require.NoError(t, err)
	require.Empty(t, dependants(all, "lib", "amd64"))
}

func FuzzRelations(f *testing.F) {
	f.Add(stanza("lib", "Provides: virtual (= 1), other") + "\n" + stanza("a", "Depends: lib (>= 1) | x:any, virtual [amd64] <!x>", "Multi-Arch: foreign"))
	f.Add("Package: a\nDepends: ,,|,|(\n\n\nPackage:\n:\nStatus\n")
	f.Fuzz(func(t *testing.T, text string) {
		all := relationsOf(t, text)
		for _, p := range all {
			require.NotEmpty(t, p.name)
			require.LessOrEqual(t, len(p.needs), maxRelations)
		}
		if len(all) > 50 {
			all = all[:50]
		}
		for _, p := range all[:min(len(all), 5)] {
			require.LessOrEqual(t, len(dependants(all, p.name, p.arch)), len(all))
		}
	})
}
