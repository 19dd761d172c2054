package software

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
)

// fuzzRows lets a reader of hostile bytes add rows, and checks them as those of any system.
func fuzzRows(t *testing.T, root, name string, read func(s *scan) error) {
	rows, _, _ := list(t.Context(), Options{Root: root}, []source{{name, func(s *scan) error {
		s.found = true
		err := read(s)
		require.LessOrEqual(t, len(s.rows), protocol.MaxSectionRows)
		return err
	}, false}})
	checkRows(t, rows)
}

func FuzzDpkg(f *testing.F) {
	f.Add([]byte("Package: a\nStatus: install reinstreq half-installed\nVersion: 1:2\nInstalled-Size: 12\n\n"))
	f.Add([]byte("Package: \x00\xff\u202e\nVersion: ?#@/\n\nPackage: b\n\n\nPackage: b\nPriority: required"))
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRows(t, root, "dpkg", func(s *scan) error {
			var all []dpkgPackage
			err := parseDpkg(bytes.NewReader(data), func(p dpkgPackage) { all = append(all, p) })
			for _, p := range latest(all, len(all)/2) {
				s.addDpkg(p)
			}
			return err
		})
	})
}

func FuzzRPM(f *testing.F) {
	f.Add([]byte("a\x1f(none)\x1f1\x1f1.el9\x1fnoarch\x1f12\x1f1700000000\x1fx\x1fy\x1e\n"))
	f.Add([]byte("\x1f\x1f\x1f\x1f\x1f\x1f\x1f\x1f\x1e\x1e\x1e"))
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRows(t, root, "rpm", func(s *scan) error {
			for _, p := range parseRPM(data) {
				s.addRPM(p, false)
			}
			return nil
		})
	})
}

func FuzzAPK(f *testing.F) {
	f.Add([]byte("P:a\nV:1-r0\nA:x86_64\nI:12\nT:text\n\nP:b"))
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRows(t, root, "apk", func(s *scan) error { return parseAPK(bytes.NewReader(data), s.addAPK) })
	})
}

func FuzzPacman(f *testing.F) {
	f.Add([]byte("%NAME%\na\n\n%VERSION%\n1:2-3\n\n%SIZE%\n12\n%INSTALLDATE%\n1700000000\n"))
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRows(t, root, "pacman", func(s *scan) error {
			s.addPacman(parsePacman(data))
			return nil
		})
	})
}

func FuzzSnap(f *testing.F) {
	f.Add([]byte("name: 'a''b'\nversion: \"1\"\narchitectures:\n  - amd64\ntype: base\n"))
	f.Add([]byte("architectures: [\n- '\nname: \"\n"))
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRows(t, root, "snap", func(s *scan) error {
			s.addSnap("snap", "a", parseSnap(data))
			return nil
		})
	})
}

func FuzzFlatpak(f *testing.F) {
	for _, text := range []string{
		"a2RlAGM4AC9kZQAvZW4ABAgAAAAAAAAAAAAAAAAAAAVkZXBsb3ktdmVyc2lvbgAABAAAAABpDxcRBwQ=", // of GLib
		"YXBwZGF0YS1uYW1lAGFwcGRhdGEtbmFtZQA=",
	} {
		data, err := base64.StdEncoding.DecodeString(text)
		require.NoError(f, err)
		f.Add(data)
	}
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRows(t, root, "flatpak", func(s *scan) error {
			s.addFlatpak(s.tree, "app", flatpakRef{"org.x.Y", "x86_64", "stable", ""}, "a/active", parseDeploy(data))
			return nil
		})
	})
}

// FuzzJSON: receipts of Homebrew, manifests of Nix, descriptions of npm.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"time":1e300,"arch":"x","source":{"tap":"t"},"version":"1","elements":{"a":{"storePaths":["/nix/store/h-a-1"]}}}`))
	f.Add([]byte(`{"elements":[{"active":false},{"storePaths":["","-","x-"]}]}`))
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRows(t, root, "nix", func(s *scan) error {
			elements, err := parseNix(data)
			for _, e := range elements {
				s.addNix(e)
			}
			return err
		})
		receipt, err := parseReceipt(data)
		require.True(t, err == nil || receipt == brewReceipt{})
		seconds(int64(receipt.Time))
		described, err := parseNpm(data)
		require.True(t, err == nil || described == npmPackage{})
	})
}

func FuzzXBPS(f *testing.F) {
	f.Add([]byte("<plist><dict><key>a</key><dict><key>pkgver</key><string>a-1_1</string><key>install-date</key><string>2024-02-11 09:30 UTC</string></dict></dict></plist>"))
	f.Add([]byte("<dict><key/><dict></dict></dict></array><x>&lt;<![CDATA[x]]>"))
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRows(t, root, "xbps", func(s *scan) error { return parseXBPS(bytes.NewReader(data), s.addXBPS) })
	})
}

func FuzzSlackware(f *testing.F) {
	f.Add([]byte("UNCOMPRESSED PACKAGE SIZE: 5.2M\nPACKAGE DESCRIPTION:\na: a (text)\n"))
	f.Add([]byte("UNCOMPRESSED PACKAGE SIZE: 1e308G\nUNCOMPRESSED PACKAGE SIZE: NaN"))
	f.Fuzz(func(t *testing.T, data []byte) {
		size, _ := parseSlackware(data, "a")
		require.GreaterOrEqual(t, size, int64(0))
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte("Metadata-Version: 2.1\nName: a\nVersion: 1\n\nName: b"))
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRows(t, root, "pip", func(s *scan) error {
			row := parseMetadata(data)
			s.add(Ref{Name: row.Name, Version: row.Version}, row)
			return nil
		})
	})
}

// FuzzLines: every line comes once, in order, without its end.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\n\n"), 1)
	f.Add([]byte("x"), maxLine)
	f.Fuzz(func(t *testing.T, data []byte, times int) {
		data = bytes.Repeat(data, min(max(times, 0), maxLine/8))
		var got []string
		require.NoError(t, lines(bytes.NewReader(data), func(line []byte) { got = append(got, string(line)) }))
		var want []string
		for line := range strings.Lines(string(data)) {
			if len(line) < maxLine {
				want = append(want, strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"))
			} else {
				want = append(want, line[:maxLine])
			}
		}
		require.Len(t, got, len(want))
		for i := range got {
			require.True(t, got[i] == want[i] || len(want[i]) == maxLine && strings.HasPrefix(want[i], got[i]), i)
		}
	})
}

func FuzzDistribution(f *testing.F) {
	f.Add([]byte("NAME=x\nID=\"rhel\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		require.LessOrEqual(t, len(parseDistribution(data).namespace("x")), 40*4)
	})
}
