package software

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/attempt"
	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/protocol"
)

// TestPlan lets each manager answer in its own words (rpm 4.18, pacman 6.0 and flatpak 1.14 were asked; apk's
// are as its users quote them), and checks what would be run, with each argument for itself.
func TestPlan(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		ref     Ref
		answer  string // shell code
		asked   string
		argv    string
		others  string
		with    string
		refuses string
	}{
		"rpm": {
			ref:   Ref{Source: "rpm", Name: "appb", Version: "2.0-3", Arch: "noarch", Qualifiers: map[string]string{"epoch": "1"}},
			asked: "-e --test -- appb-1:2.0-3.noarch", argv: "rpm -e -- appb-1:2.0-3.noarch",
		},
		"rpm, needed": {
			ref: Ref{Source: "rpm", Name: "liba", Version: "1.0-1", Arch: "noarch"},
			answer: `printf 'error: Failed dependencies:\n\tcap(a) is needed by (installed) appb-1:2.0-3.noarch\n' >&2
printf '\tliba >= 1 is needed by (installed) app-c-tools-1-1.x86_64\n\tliba is needed by (installed) appb-1:2.0-3.noarch\n' >&2; exit 1`,
			asked: "-e --test -- liba-1.0-1.noarch", others: "app-c-tools appb",
		},
		"rpm, broken": {
			ref:    Ref{Source: "rpm", Name: "liba", Version: "1.0-1", Arch: "noarch"},
			answer: `echo "error: rpmdb open failed" >&2; exit 1`, asked: "-e --test -- liba-1.0-1.noarch",
			refuses: "rpm -e --test -- liba-1.0-1.noarch refuses (exit code 1): error: rpmdb open failed",
		},
		"pacman": {
			ref: Ref{Source: "pacman", Name: "papp2", Version: "1.0-1", Arch: "any"}, answer: "echo papp2",
			asked: "-R --print --print-format %n -- papp2", argv: "pacman -R --noconfirm -- papp2",
		},
		"pacman, needed": {
			ref: Ref{Source: "pacman", Name: "pliba", Version: "1.0-1"},
			answer: `echo "error: failed to prepare transaction (could not satisfy dependencies)" >&2
echo ":: removing pliba breaks dependency 'pcap' required by pappb"; exit 1`,
			asked: "-R --print --print-format %n -- pliba", others: "pappb",
		},
		"apk": {
			ref: Ref{Source: "apk", Name: "htop", Version: "3.2.2-r1"}, answer: `printf '(1/2) Purging htop (3.2.2-r1)\n(2/2) Purging ncurses-libs (6.4-r4)\nOK: 7 MiB in 15 packages\n'`,
			asked: "del --simulate --no-progress -- htop", argv: "apk del --no-progress --wait 300 -- htop", with: "ncurses-libs",
		},
		"apk, needed": {
			ref: Ref{Source: "apk", Name: "ncurses-libs", Version: "6.4-r4"}, answer: `printf 'World updated, but the following packages are not removed due to:\n  ncurses-libs: mc htop\n                less ncurses-libs\n  other: not-this\n\nOK: 7 MiB in 15 packages\n'`,
			asked: "del --simulate --no-progress -- ncurses-libs", others: "htop less mc",
		},
		"apk, with much": {
			ref: Ref{Source: "apk", Name: "gcc", Version: "15"}, answer: `printf '( 1/12) Purging gcc (15)\n( 2/12) Purging binutils (2.45.1-r0)\n(12/12) Purging musl-dev (1.2.5-r23)\nOK: 7 MiB\n'`,
			asked: "del --simulate --no-progress -- gcc", argv: "apk del --no-progress --wait 300 -- gcc", with: "binutils musl-dev",
		},
		"apk that would keep it for no reason it tells": {
			ref: Ref{Source: "apk", Name: "htop", Version: "1"}, answer: `echo OK`, asked: "del --simulate --no-progress -- htop", refuses: "refuses (exit code 0): OK",
		},
		"snap": {ref: Ref{Source: "snap", Name: "hello-world", Version: "6.4"}, argv: "snap remove -- hello-world"},
		"flatpak": {
			ref:    Ref{Source: "flatpak", Name: "org.example.App", Arch: "x86_64", Qualifiers: map[string]string{"branch": "stable"}},
			answer: `printf 'org.example.App\torg.example.Platform/x86_64/23.08\n'`, asked: "list --system --app --columns=application,runtime",
			argv: "flatpak uninstall --system --noninteractive -y -- org.example.App/x86_64/stable",
		},
		"flatpak, a runtime that is used": {
			ref:    Ref{Source: "flatpak", Name: "org.example.Platform", Arch: "x86_64", Qualifiers: map[string]string{"branch": "23.08"}},
			answer: `printf 'org.example.App\torg.example.Platform/x86_64/23.08\norg.other.App\torg.example.Platform/x86_64/22.08\n'`,
			asked:  "list --system --app --columns=application,runtime", others: "org.example.App",
		},
		"flatpak that cannot tell who uses it": {
			ref:    Ref{Source: "flatpak", Name: "org.example.Platform", Arch: "x86_64", Qualifiers: map[string]string{"branch": "23.08"}},
			answer: `echo "error: no installation" >&2; exit 1`, asked: "list --system --app --columns=application,runtime",
			refuses: "refuses (exit code 1): error: no installation",
		},
		"pacman, with an answer beyond bounds": {
			ref: Ref{Source: "pacman", Name: "pliba", Version: "1.0-1"}, answer: `yes ":: removing pliba breaks dependency" | head -c 70000; exit 1`,
			asked: "-R --print --print-format %n -- pliba", refuses: "answers with 70000 bytes, more than the 65536 that can be looked at",
		},
		"flatpak of a user": {
			ref:     Ref{Source: "flatpak", Name: "org.example.App", Qualifiers: map[string]string{"user": "alice"}},
			refuses: `belongs to the user "alice"`,
		},
		"an rpm of no possible version": {ref: Ref{Source: "rpm", Name: "a", Version: "1 --nodeps"}, refuses: "no name that a program of rpm could have"},
		"a snap of no possible name":    {ref: Ref{Source: "snap", Name: "--purge"}, refuses: "no name that a program of snap could have"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newComputer(t)
			asked := filepath.Join(m.root, "asked")
			m.program(c.ref.Source, "#!/bin/sh\necho \"$*\" >>"+asked+"\n"+c.answer+"\n")
			u := m.work(t)
			p, err := managerOf(c.ref.Source).plan(t.Context(), u, target{row: &protocol.Software{Row: protocol.Row{Name: c.ref.Name}, Source: c.ref.Source}, ref: c.ref})
			told, _ := os.ReadFile(asked)
			require.Equal(t, c.asked, strings.TrimSpace(string(told)), "asked once, of one program")
			if c.refuses != "" {
				require.ErrorContains(t, err, c.refuses)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.others, strings.Join(p.others, " "))
			require.Equal(t, c.with, strings.Join(p.with, " "))
			if c.others == "" {
				require.Equal(t, c.argv, strings.Join(p.argv, " "))
			}
		})
	}
}

// work is a task's process without a task: enough for a plan.
func (c *computer) work(t *testing.T) *uninstalling {
	t.Helper()
	a, err := attempt.Open(filepath.Join(c.data, "servers", "test"), uuid.NewString())
	require.NoError(t, err)
	lock, _, err := proc.TryLock(filepath.Join(c.data, "change.lock"), "test")
	require.NoError(t, err)
	t.Cleanup(func() { _ = lock.Unlock() })
	return &uninstalling{
		change: lock, Uninstaller: &Uninstaller{Root: c.root, Programs: c.programs}, attempt: a, own: map[string]string{}, refs: map[string]Ref{},
		config: config.Default(), log: slog.New(slog.DiscardHandler), task: protocol.UninstallTask{Software: []string{"one"}},
	}
}

func TestManagers_whoIsAtWork(t *testing.T) {
	t.Parallel()
	c := newComputer(t)
	for n := range managers {
		require.Empty(t, managers[n].busy(c.root), managers[n].source)
	}
	require.NoError(t, os.MkdirAll(filepath.Join(c.root, "var/lib/pacman"), 0o755))
	c.write("var/lib/pacman/db.lck", "")
	require.Contains(t, managerOf("pacman").busy(c.root), "/var/lib/pacman/db.lck is there")
	free := c.holdLock(filepath.Join(c.root, "var/lib/dpkg/lock"))
	require.Regexp(t, `^process \d+, python3[.\d]*, holds /var/lib/dpkg/lock$`, managerOf("dpkg").busy(c.root))
	free()
	require.Empty(t, managerOf("dpkg").busy(c.root))
}

func TestOwners(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"muster-agent: /usr/bin/muster-agent\n":               "muster-agent",
		"a, b:amd64, c++: /usr/bin/x\n":                       "a b c++",
		"muster-agent\n":                                      "muster-agent",
		"muster-agent\nmuster-agent\n":                        "muster-agent muster-agent",
		"file /usr/bin/x is not owned by any package\n":       "",
		"error: No package owns /usr/bin/x\n":                 "",
		"dpkg-query: no path found matching pattern /usr/x\n": "",
		"diversion by dash from: /bin/sh\n":                   "",
		"":                                                    "",
	} {
		require.Equal(t, want, strings.Join(owners(text), " "), text)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add("( 1/23) Purging a (1)\n  a: b c\n        d\n:: removing a breaks dependency 'x' required by b\n\tx is needed by (installed) b-1-1.x\na, b:amd64: /usr/bin/x\n")
	f.Fuzz(func(t *testing.T, text string) {
		purged, needed := apkAnswer(text, "a")
		require.NotContains(t, needed, "a")
		for _, name := range append(append(append(purged, owners(text)...), matches(text, requiredBy())...), matches(text, neededBy())...) {
			require.NotEmpty(t, rpmShort(name))
		}
	})
}
