package inventory

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/text"
)

func pack(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func upload(t testing.TB, section, data string) Upload {
	t.Helper()
	sum := sha256.Sum256([]byte(data))
	return Upload{Section: section, SHA256: hex.EncodeToString(sum[:]), Packed: pack(t, []byte(data))}
}

func TestRead_refuses(t *testing.T) {
	t.Parallel()
	good := `{"key":"a","name":"A"}` + "\n"
	wrong := upload(t, "cpus", good)
	wrong.SHA256 = strings.Repeat("0", 64)
	torn := upload(t, "cpus", good+good)
	torn.Packed = torn.Packed[:len(torn.Packed)-9]
	for name, c := range map[string]struct {
		up   Upload
		code fault.Code
	}{
		"wrong digest":       {wrong, fault.Untrusted},
		"not packed":         {Upload{Section: "cpus", Packed: []byte(good)}, fault.Invalid},
		"nothing":            {Upload{Section: "cpus"}, fault.Invalid},
		"torn":               {torn, fault.Invalid},
		"bomb":               {bomb(t, strings.Repeat("\n", 1<<20)), fault.Invalid}, // an empty row is none
		"bomb of one row":    {bomb(t, strings.Repeat(" ", 1<<20)), fault.TooLarge},
		"unpacked too large": {upload(t, "unknown", manyRows(1050, 16100)), fault.TooLarge},
		"too many rows":      {upload(t, "cpus", manyRows(protocol.MaxSectionRows+1, 0)), fault.TooLarge},
		"huge row":           {upload(t, "cpus", `{"key":"a","name":"`+strings.Repeat("x", protocol.MaxRow)+`"}`+"\n"), fault.TooLarge},
		"duplicate keys":     {upload(t, "cpus", good+good), fault.Invalid},
		"unsorted":           {upload(t, "cpus", `{"key":"b"}`+"\n"+good), fault.Invalid},
		"no key in two rows": {upload(t, "cpus", "{}\n{}\n"), fault.Invalid},
		"no end":             {upload(t, "cpus", strings.TrimSpace(good)), fault.Invalid},
		"not UTF-8":          {upload(t, "cpus", "{\"key\":\"a\",\"name\":\"\xff\"}\n"), fault.Invalid},
		"no object":          {upload(t, "cpus", "[]\n"), fault.Invalid},
		"two in a row":       {upload(t, "unknown", `{"key":"a"} {"key":"b"}`+"\n"), fault.Invalid},
		"null":               {upload(t, "unknown", "null\n"), fault.Invalid},
		"wrong type":         {upload(t, "cpus", `{"key":"a","cores":"many"}`+"\n"), fault.Invalid},
		"number too large":   {upload(t, "cpus", `{"key":"a","cores":1e30}`+"\n"), fault.Invalid},
		"no column":          {upload(t, "module-ports", `{"key":"a","name":"A","extra":1}`+"\n"), fault.Invalid},
		"no integer":         {upload(t, "module-ports", `{"key":"a","name":"A","port":"22"}`+"\n"), fault.Invalid},
		"module's no key":    {upload(t, "module-ports", `{"name":"A","port":22}`+"\n"), fault.Invalid},
		"deep nesting":       {upload(t, "cpus", `{"key":"a","x":`+strings.Repeat("[", 15000)+"\n"), fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := read(c.up, ports())
			require.Equal(t, c.code, fault.CodeOf(err), "%v", err)
			require.Less(t, len(err.Error()), 400, "an error repeats little of what came")
		})
	}
}

// bomb is a text, more often than a section may be long: packed data may go on after their end.
func bomb(t *testing.T, text string) Upload {
	t.Helper()
	return Upload{Section: "cpus", SHA256: strings.Repeat("0", 64), Packed: bytes.Repeat(pack(t, []byte(text)), protocol.MaxSectionBytes/len(text)+1)}
}

// manyRows are rows in the order of their keys, each with a text of some length.
func manyRows(n, length int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"key":"%06d","name":"%s"}`+"\n", i, strings.Repeat("x", length))
	}
	return b.String()
}

func TestRead_cleans(t *testing.T) {
	t.Parallel()
	r, err := read(upload(t, "users", `{"key":"ann","name":"  a\u001b[31mn\u0000n\u202e\n","uid":"7","groups":["a\tb","","\u0007"],"shell":"`+
		strings.Repeat("é", 700)+`","no_such_field":1,"system":true}`+"\n"), nil)
	require.NoError(t, err)
	u, ok := r.values[0].(*protocol.User)
	require.True(t, ok)
	require.Equal(t, "a[31mnn", u.Name)
	require.Equal(t, []string{"a b"}, u.Groups)
	require.Equal(t, strings.Repeat("é", maxText), u.Shell)
	kept, err := search(r.content, "", "", 10)
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.NotContains(t, kept[0], "no_such_field")

	r, err = read(upload(t, "software", `{"key":"k","size_bytes":-5,"installed_at":"0001-01-01T00:00:00Z"}`+"\n"), nil)
	require.NoError(t, err)
	p, ok := r.values[0].(*protocol.Software)
	require.True(t, ok)
	require.Zero(t, p.SizeBytes)
	require.Nil(t, p.InstalledAt)

	r, err = read(upload(t, "gadgets", `{"key":"k","n":12345678901234567890,"deep":{"a":{"b":{"c":{"d":{"e":1}}}}},"text":"a\u0000b","l":[[[[[1]]]]]}`+"\n"), nil)
	require.NoError(t, err)
	require.Empty(t, r.values)
	kept, err = search(r.content, "12345678901234567890", "", 10)
	require.NoError(t, err)
	require.Equal(t, "ab", kept[0]["text"])
	require.Equal(t, "map[a:map[b:map[c:<nil>]]]", fmt.Sprint(kept[0]["deep"]))
}

// ports are the columns of a module's section.
func ports() []protocol.Column {
	return []protocol.Column{
		{Name: "port", Type: protocol.ColumnInteger}, {Name: "program", Type: protocol.ColumnText}, {Name: "since", Type: protocol.ColumnTime},
	}
}

func TestRead_cleansRowsOfModulesByTheirColumns(t *testing.T) {
	t.Parallel()
	r, err := read(upload(t, "module-ports", `{"key":"22","name":"s\u001b[1msh","port":2.2e1,"program":"a\u202e`+strings.Repeat("é", 700)+
		`","since":"2026-01-02T03:04:05+02:00"}`+"\n"+`{"key":"80"}`+"\n"), ports())
	require.NoError(t, err)
	require.Equal(t, 2, r.count)
	kept, err := search(r.content, "", "", 10)
	require.NoError(t, err)
	require.Equal(t, "s[1msh", kept[0]["name"])
	require.Equal(t, "22", fmt.Sprint(kept[0]["port"]))
	require.Equal(t, "a"+strings.Repeat("é", maxText-1), kept[0]["program"])
	require.Equal(t, "2026-01-02T01:04:05Z", kept[0]["since"])
	require.Len(t, kept[1], 2)
}

func TestRead_leavesRowsWithUnusableKeysOut(t *testing.T) {
	t.Parallel()
	r, err := read(upload(t, "filesystems", `{"key":"/a"}`+"\n"+`{"key":"/b\u0007"}`+"\n"+`{"key":"/c`+strings.Repeat("c", 600)+`"}`+"\n"+`{"key":"/d"}`+"\n"), nil)
	require.NoError(t, err)
	require.Equal(t, 2, r.count)
	require.Contains(t, r.remark(), "2 rows")
	kept, err := search(r.content, "", "/a", 10)
	require.NoError(t, err)
	require.Len(t, kept, 1)
	require.Equal(t, "/d", kept[0].Key())
}

// Whatever comes as a section, what is kept of it is bounded and clean, and reads back as what was counted.
func FuzzRead(f *testing.F) {
	sections := append(allTypes(), "gadgets", "module-ports")
	for i := range sections {
		f.Add(i, []byte(`{"key":"a","name":"A","cores":2,"addresses":["x"],"since":"2026-01-01T00:00:00Z","bytes":-1}`+"\n"))
	}
	f.Add(1, []byte("{\"key\":\"a\"}\n{\"key\":\"b\",\"name\":\"\u202e\\u0000\"}\n"))
	f.Add(2, []byte(`{"KEY":"a","key":"b","x":[[[[[[{}]]]]]],"y":1e999}`+"\n"))
	f.Fuzz(func(t *testing.T, n int, data []byte) {
		section := sections[uint(n)%uint(len(sections))]
		r, err := read(upload(t, section, string(data)), ports())
		if err != nil {
			require.NotEqual(t, fault.Internal, fault.CodeOf(err), "%v", err)
			return
		}
		kept, err := search(r.content, "", "", protocol.MaxSectionRows)
		require.NoError(t, err)
		require.Len(t, kept, r.count)
		last := ""
		for _, row := range kept {
			require.Greater(t, row.Key(), last)
			last = row.Key()
			require.Equal(t, text.Clean(last, maxKey), last)
			for _, v := range row {
				if s, ok := v.(string); ok {
					require.Equal(t, text.Clean(s, maxKey), s)
				}
			}
		}
		first[protocol.System](r.content)
		if types[section] != nil {
			values, err := typed(section, r.content)
			require.NoError(t, err)
			require.Len(t, values, r.count)
			compare(section, values, r.values)
			watch(nil, values, 10)
		}
	})
}

// Whatever columns a head names, what is kept of them is clean, bounded, and reads back as the same.
func FuzzColumns(f *testing.F) {
	f.Add([]byte(`[{"name":"port","title":"P\u001bort <b>","type":"integer"},{"name":"size","type":"bytes"}]`))
	f.Add([]byte(`[{"name":"key","type":"text"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h := protocol.SectionHead{Name: "module-ports", SHA256: strings.Repeat("0", 64)}
		if json.Unmarshal(data, &h.Columns) != nil || (&protocol.InventoryHead{Sections: []protocol.SectionHead{h}}).Validate() != nil {
			return
		}
		kept := encodeColumns(h)
		require.LessOrEqual(t, len(kept), 16<<10)
		columns := decodeColumns(kept)
		require.Len(t, columns, len(h.Columns))
		for _, c := range columns {
			require.Equal(t, text.Clean(c.Title, maxTitle), c.Title)
		}
		require.NoError(t, protocol.ValidateColumns(columns))
		require.Equal(t, kept, encodeColumns(protocol.SectionHead{Name: h.Name, Columns: columns}))
	})
}

func allTypes() []string {
	all := map[string]any{}
	for name := range types {
		all[name] = nil
	}
	return names(all)
}

// What is packed by somebody else than this server, or was damaged on disk, is an error and no more.
func FuzzKept(f *testing.F) {
	f.Add(pack(f, []byte(`{"key":"a"}`+"\n")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		rows, err := search(content, "a", "", 5)
		if err == nil {
			require.LessOrEqual(t, len(rows), 5)
		}
	})
}
