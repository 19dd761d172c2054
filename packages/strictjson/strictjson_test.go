package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/strictjson"
)

type inner struct {
	Name string `json:"name"`
}

type document struct {
	Format int               `json:"format"`
	Time   time.Time         `json:"time"`
	Env    map[string]string `json:"env,omitempty"`
	Inner  *inner            `json:"inner,omitempty"`
	List   []inner           `json:"list,omitempty"`
	Raw    []byte            `json:"raw,omitempty"`
	Hidden string            `json:"-"`
}

func TestDecode_reads(t *testing.T) {
	t.Parallel()
	var d document
	err := strictjson.Decode([]byte(` {"format":1,"time":"2026-01-02T03:04:05Z","env":{"A":"b"},"inner":{"name":"x"},"list":[{"name":"y"}],"raw":"AQI="} `), &d)
	require.NoError(t, err)
	require.Equal(t, document{
		Format: 1, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Env: map[string]string{"A": "b"},
		Inner: &inner{"x"}, List: []inner{{"y"}}, Raw: []byte{1, 2},
	}, d)
}

func TestDecode_refuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"empty":                 {"", "EOF"},
		"cut off":               {`{"format":1`, "EOF"},
		"unknown key":           {`{"format":1,"extra":2}`, `"extra" is an unknown key`},
		"unknown key deep":      {`{"list":[{"name":"a"},{"nam":"b"}]}`, `"list[1].nam" is an unknown key`},
		"duplicate key":         {`{"format":1,"format":2}`, `key "format" twice`},
		"duplicate by escape":   {`{"format":1,"form\u0061t":2}`, `key "format" twice`},
		"case variant":          {`{"Format":1}`, `"format" is spelled "Format"`},
		"case variant beside":   {`{"format":1,"FORMAT":2}`, `key "FORMAT" twice`},
		"case variant deep":     {`{"inner":{"NAME":"x"}}`, `"inner.name" is spelled "NAME"`},
		"duplicate in a map":    {`{"env":{"A":"1","A":"2"}}`, `key "A" twice`},
		"case variant in a map": {`{"env":{"Path":"1","PATH":"2"}}`, `key "PATH" twice`},
		"trailing object":       {`{"format":1}{}`, "data follows"},
		"trailing text":         {`{"format":1} x`, "data follows"},
		"trailing NUL":          {"{\"format\":1}\x00", "data follows"},
		"null":                  {`{"format":null}`, `"format" is null`},
		"null element":          {`{"list":[null]}`, `"list[0]" is null`},
		"null document":         {`null`, "the document is null"},
		"array document":        {`[]`, "cannot unmarshal array"},
		"ignored field by name": {`{"Hidden":"x"}`, `"Hidden" is an unknown key`},
		"ignored field by dash": {`{"-":"x"}`, `"-" is an unknown key`},
		"wrong kind":            {`{"format":"1"}`, "cannot unmarshal string"},
		"object for a list":     {`{"list":{"name":"x"}}`, "cannot unmarshal object"},
		"number out of range":   {`{"format":1e99}`, "cannot unmarshal number"},
		"broken UTF-8":          {"{\"inner\":{\"name\":\"\xff\"}}", "not valid UTF-8"},
		"nested too deep":       {strings.Repeat(`[`, 20) + strings.Repeat(`]`, 20), "nested deeper"},
		"comment":               {`{"format":1/*x*/}`, "invalid character"},
		"byte order mark":       {"\ufeff{}", "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d document
			require.ErrorContains(t, strictjson.Decode([]byte(c.in), &d), c.want)
		})
	}
}

func TestScan_knowsNoKeys(t *testing.T) {
	t.Parallel()
	require.NoError(t, strictjson.Scan([]byte(`{"a":{"b":[1,"x",true]}}`), nil))
	require.ErrorContains(t, strictjson.Scan([]byte(`{"a":{"b":1,"B":1}}`), nil), "twice")
	require.ErrorContains(t, strictjson.Scan([]byte(`{"a":1} {}`), nil), "data follows")
}

// FuzzDecode holds that whatever is accepted means the same to a lenient reader.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"format":1,"time":"2026-01-02T03:04:05Z","env":{"A":"b"},"list":[{"name":"y"}]}`))
	f.Add([]byte(`{"format":1,"FORMAT":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var strict, lenient document
		if strictjson.Decode(data, &strict) != nil {
			return
		}
		require.NoError(t, json.Unmarshal(data, &lenient))
		require.Equal(t, lenient, strict)
	})
}
