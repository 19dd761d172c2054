package inventory

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/sysread"
)

// A fixture is one text file that stands for a tree of files; testdata/README.md has its format. It is no
// folder of files because names in /sys hold colons, which no Windows checkout takes, and links.

// fixtureOptions unpacks testdata/NAME/tree.txt and returns the options to collect it.
func fixtureOptions(t *testing.T, name string) Options {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name, "tree.txt"))
	require.NoError(t, err)
	return unpack(t, string(text))
}

// unpack writes the tree below a folder of the test.
func unpack(t *testing.T, text string) Options {
	t.Helper()
	root := t.TempDir()
	parts := strings.Split("\n"+text, "\n-- ")
	for _, part := range parts[1:] { // before the first stands what the tree is
		head, content, _ := strings.Cut(part, "\n")
		head, ok := strings.CutSuffix(head, " --")
		require.True(t, ok, "%q ends without --", head)
		if content != "" && !strings.HasSuffix(content, "\n") {
			content += "\n"
		}
		at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
		if h, when, ok := strings.Cut(head, " @"); ok {
			head = h
			at, _ = time.Parse(time.RFC3339, when)
			require.False(t, at.IsZero(), when)
		}
		head, kind, _ := strings.Cut(head, " | ")
		file, target, link := strings.Cut(head, " -> ")
		path := filepath.Join(root, file)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		switch {
		case link:
			require.NoError(t, os.Symlink(target, path))
			continue
		case strings.HasSuffix(file, "/"):
			require.NoError(t, os.MkdirAll(path, 0o755))
		default:
			require.NoError(t, os.WriteFile(path, build(t, kind, content), 0o600))
		}
		require.NoError(t, os.Chtimes(path, at, at))
	}
	return Options{Root: root, Processes: true, calls: fixtureCalls(sysread.Tree(root))}
}

// build makes a file's bytes of what describes them.
func build(t *testing.T, kind, text string) []byte {
	t.Helper()
	switch kind {
	case "":
		return []byte(text)
	case "dmi":
		return buildDMI(t, text)
	case "edid":
		return buildEDID(t, text)
	case "utmp":
		return buildUtmp(t, text)
	case "quoted": // one Go string a line, joined
		var out []byte
		for line := range strings.Lines(text) {
			s, err := strconv.Unquote(strings.TrimSpace(line))
			require.NoError(t, err)
			out = append(out, s...)
		}
		return out
	default:
		t.Fatalf("no file is made by %q", kind)
		return nil
	}
}

// fixtureCalls answers by the folder "fixture" of a tree.
func fixtureCalls(tree sysread.Tree) *calls {
	arch := tree.Line("fixture/arch")
	if arch == "" {
		arch = "amd64"
	}
	return &calls{
		arch: arch, agent: "1.2.3", spaceOver: func(string) <-chan time.Time { return nil },
		space: func(path string) (total, free int64, err error) {
			for line := range strings.Lines(string(tree.Bytes("fixture/space"))) {
				if f := strings.Fields(line); len(f) == 3 && f[0] == path {
					total, _ = strconv.ParseInt(f[1], 10, 64)
					free, _ = strconv.ParseInt(f[2], 10, 64)
					return total, free, nil
				}
			}
			return 0, 0, os.ErrNotExist
		},
		addresses: func() (map[string][]netip.Prefix, error) {
			found := map[string][]netip.Prefix{}
			for line := range strings.Lines(string(tree.Bytes("fixture/addresses"))) {
				f := strings.Fields(line)
				for _, a := range f[1:] {
					found[f[0]] = append(found[f[0]], netip.MustParsePrefix(a))
				}
			}
			return found, nil
		},
	}
}

// fields reads one line of a description: a first word, then name=value, with quotes where there are blanks.
func fields(t *testing.T, line string) (string, map[string]string) {
	t.Helper()
	first, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	found := map[string]string{}
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		name, value, ok := strings.Cut(rest, "=")
		require.True(t, ok, line)
		if strings.HasPrefix(value, `"`) {
			value, rest, ok = strings.Cut(value[1:], `"`)
			require.True(t, ok, line)
		} else {
			value, rest, _ = strings.Cut(value, " ")
		}
		found[name] = value
	}
	return first, found
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 0, 64)
	require.NoError(t, err)
	return n
}

// dmiField is where a field of a structure lies. Width 0 is a string, 16 a UUID.
type dmiField struct{ offset, width int }

// dmiLayouts are the parts of DSP0134 that fixtures describe: length of the formatted area, and fields.
var dmiLayouts = map[byte]struct {
	length int
	fields map[string]dmiField
}{
	0:  {0x18, map[string]dmiField{"vendor": {4, 0}, "version": {5, 0}, "date": {8, 0}}},
	1:  {0x1B, map[string]dmiField{"manufacturer": {4, 0}, "product": {5, 0}, "version": {6, 0}, "serial": {7, 0}, "uuid": {8, 16}, "sku": {0x19, 0}, "family": {0x1A, 0}}},
	2:  {0x0F, map[string]dmiField{"manufacturer": {4, 0}, "product": {5, 0}, "version": {6, 0}, "serial": {7, 0}, "asset": {8, 0}}},
	3:  {0x16, map[string]dmiField{"manufacturer": {4, 0}, "type": {5, 1}, "version": {6, 0}, "serial": {7, 0}, "asset": {8, 0}}},
	4:  {0x30, map[string]dmiField{"socket": {4, 0}, "type": {5, 1}, "manufacturer": {7, 0}, "version": {0x10, 0}, "mhz": {0x14, 2}, "status": {0x18, 1}, "cores": {0x23, 1}, "threads": {0x25, 1}, "cores2": {0x2A, 2}, "threads2": {0x2E, 2}}},
	16: {0x17, map[string]dmiField{"use": {5, 1}}},
	17: {0x5C, map[string]dmiField{"array": {4, 2}, "size": {0xC, 2}, "locator": {0x10, 0}, "bank": {0x11, 0}, "type": {0x12, 1}, "speed": {0x15, 2}, "manufacturer": {0x17, 0}, "serial": {0x18, 0}, "part": {0x1A, 0}, "size2": {0x1C, 4}, "running": {0x20, 2}, "speed2": {0x54, 4}, "running2": {0x58, 4}}},
}

// buildDMI makes the table that lines such as `17 locator="DIMM A" size=8192` describe; handles count from
// 1, and a handle can be given. A line "truncate N" cuts the table to N bytes.
func buildDMI(t *testing.T, text string) []byte {
	t.Helper()
	var table []byte
	handle := uint16(0)
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		first, values := fields(t, line)
		if first == "truncate" {
			return table[:number(t, values["bytes"])]
		}
		kind := byte(number(t, first))
		layout, ok := dmiLayouts[kind]
		if !ok {
			layout.length = 4
		}
		handle++
		if h := values["handle"]; h != "" {
			handle = uint16(number(t, h))
			delete(values, "handle")
		}
		data := make([]byte, layout.length)
		data[0], data[1] = kind, byte(layout.length)
		binary.LittleEndian.PutUint16(data[2:], handle)
		var texts []byte
		count := byte(0)
		for _, name := range slices.Sorted(maps.Keys(values)) {
			f, ok := layout.fields[name]
			require.True(t, ok, "type %d has no field %q", kind, name)
			switch value := values[name]; f.width {
			case 0:
				if value == "" { // an empty text would end them all
					continue
				}
				count++
				data[f.offset] = count
				texts = append(append(texts, value...), 0)
			case 16:
				copy(data[f.offset:], uuidBytes(t, value))
			default:
				var wide [8]byte
				binary.LittleEndian.PutUint64(wide[:], number(t, value))
				copy(data[f.offset:f.offset+f.width], wide[:])
			}
		}
		if count == 0 {
			texts = append(texts, 0)
		}
		table = append(append(append(table, data...), texts...), 0)
	}
	return table
}

// uuidBytes are those of SMBIOS since 2.6.
func uuidBytes(t *testing.T, s string) []byte {
	t.Helper()
	raw := strings.ReplaceAll(s, "-", "")
	require.Len(t, raw, 32)
	u := make([]byte, 16)
	for i := range u {
		u[i] = byte(number(t, "0x"+raw[2*i:2*i+2]))
	}
	u[0], u[1], u[2], u[3] = u[3], u[2], u[1], u[0]
	u[4], u[5], u[6], u[7] = u[5], u[4], u[7], u[6]
	return u
}

// buildEDID makes a block of VESA E-EDID of lines such as `edid maker=DEL product=0x41d4 name="DELL U2719D"`.
func buildEDID(t *testing.T, text string) []byte {
	t.Helper()
	_, v := fields(t, text)
	get := func(name string) uint64 {
		if v[name] == "" {
			return 0
		}
		return number(t, v[name])
	}
	b := make([]byte, 128)
	copy(b, edidMagic)
	maker := v["maker"]
	require.Len(t, maker, 3)
	binary.BigEndian.PutUint16(b[8:], uint16(maker[0]-'@')<<10|uint16(maker[1]-'@')<<5|uint16(maker[2]-'@'))
	binary.LittleEndian.PutUint16(b[10:], uint16(get("product")))
	binary.LittleEndian.PutUint32(b[12:], uint32(get("number")))
	b[16], b[17], b[18], b[19] = 20, byte(get("year")-1990), 1, 4
	width, height := get("width"), get("height")
	b[21], b[22] = byte(width/10), byte(height/10)
	var x, y uint64
	if v["resolution"] != "" {
		_, err := fmt.Sscanf(v["resolution"], "%dx%d", &x, &y)
		require.NoError(t, err)
	}
	d := b[54:72]
	d[0], d[1] = 0x6a, 0x5e // a clock
	d[2], d[4], d[5], d[7] = byte(x), byte(x>>8)<<4, byte(y), byte(y>>8)<<4
	d[12], d[13], d[14] = byte(width), byte(height), byte(width>>8)<<4|byte(height>>8)
	at := 72
	for _, one := range []struct {
		kind byte
		text string
	}{{0xff, v["serial"]}, {0xfc, v["name"]}, {0xfe, v["text"]}} {
		if one.text == "" {
			continue
		}
		b[at+3] = one.kind
		copy(b[at+5:at+18], fmt.Sprintf("%-13s", one.text+"\n"))
		at += 18
	}
	var sum byte
	for _, c := range b[:127] {
		sum += c
	}
	b[127] = -sum
	return b
}

// buildUtmp makes records of lines such as `7 pid=812 terminal=pts/0 user=ann host=192.0.2.7 time=1719400000`.
func buildUtmp(t *testing.T, text string) []byte {
	t.Helper()
	var out []byte
	for line := range strings.Lines(text) {
		kind, v := fields(t, line)
		r := make([]byte, utmpSize)
		binary.LittleEndian.PutUint16(r, uint16(number(t, kind)))
		binary.LittleEndian.PutUint32(r[4:], uint32(number(t, v["pid"])))
		copy(r[8:40], v["terminal"])
		copy(r[44:76], v["user"])
		copy(r[76:332], v["host"])
		binary.LittleEndian.PutUint32(r[340:], uint32(number(t, v["time"])))
		if v["address"] != "" {
			copy(r[348:364], netip.MustParseAddr(v["address"]).AsSlice())
		}
		out = append(out, r...)
	}
	return out
}
