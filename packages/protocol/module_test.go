package protocol_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

func everyColumn() []protocol.Column {
	return []protocol.Column{
		{Name: "text", Type: protocol.ColumnText}, {Name: "integer", Type: protocol.ColumnInteger}, {Name: "number", Type: protocol.ColumnNumber},
		{Name: "boolean", Type: protocol.ColumnBoolean}, {Name: "time", Type: protocol.ColumnTime}, {Name: "size", Type: protocol.ColumnBytes},
	}
}

func TestModuleRow_isReadByItsColumns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, out string }{
		"all": {
			`{"size":5e3,"text":"x","integer":-3,"number":1.5,"boolean":true,"time":"2026-01-02T03:04:05.6789+01:00","name":"A","key":"a"}`,
			`{"key":"a","name":"A","boolean":true,"integer":-3,"number":1.5,"size":5000,"text":"x","time":"2026-01-02T02:04:05.678Z"}`,
		},
		"no columns":     {`{"key":"a"}`, `{"key":"a","name":""}`},
		"null":           {`{"key":"a","name":"A","text":null}`, `{"key":"a","name":"A"}`},
		"greatest":       {`{"key":"a","name":"","integer":9007199254740991}`, `{"key":"a","name":"","integer":9007199254740991}`},
		"whole as float": {`{"key":"a","name":"","integer":2.0}`, `{"key":"a","name":"","integer":2}`},
	} {
		row, err := protocol.DecodeModuleRow(everyColumn(), []byte(c.in))
		require.NoError(t, err, name)
		out, err := json.Marshal(row)
		require.NoError(t, err, name)
		require.Equal(t, c.out, string(out), name)
		again, err := protocol.DecodeModuleRow(everyColumn(), out)
		require.NoError(t, err, name)
		require.Equal(t, row, again, name)
	}
}

func TestModuleRow_refuses(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"no object": `[]`, "text": `"a"`, "nothing": ``, "cut": `{"key":"a"`, "more": `{"key":"a"}{}`, "not UTF-8": "{\"key\":\"\xff\"}",
		"no key": `{"name":"A"}`, "empty key": `{"key":""}`, "key a number": `{"key":1}`, "key null": `{"key":null}`, "long key": `{"key":"` + strings.Repeat("k", 513) + `"}`,
		"name a list": `{"key":"a","name":[]}`, "unknown": `{"key":"a","extra":1}`, "twice": `{"key":"a","text":"x","text":"y"}`, "key twice": `{"key":"a","key":"b"}`,
		"text a number": `{"key":"a","text":1}`, "integer a text": `{"key":"a","integer":"1"}`, "integer a fraction": `{"key":"a","integer":1.5}`,
		"integer too great": `{"key":"a","integer":9007199254740993}`, "number too great": `{"key":"a","number":1e999}`, "boolean a number": `{"key":"a","boolean":1}`,
		"time a date": `{"key":"a","time":"2026-01-02"}`, "time far": `{"key":"a","time":"9999-01-02T03:04:05Z"}`, "negative size": `{"key":"a","size":-1}`,
		"an object": `{"key":"a","text":{"a":1}}`, "a list": `{"key":"a","text":["a"]}`,
	} {
		_, err := protocol.DecodeModuleRow(everyColumn(), []byte(in))
		require.Equal(t, fault.Invalid, fault.CodeOf(err), "%s: %v", name, err)
	}
	_, err := protocol.DecodeModuleRow(everyColumn(), []byte(`{"key":"a","text":"`+strings.Repeat("x", protocol.MaxRow)+`"}`))
	require.Equal(t, fault.TooLarge, fault.CodeOf(err))
}

func TestFacts_nameModulesFromOutside(t *testing.T) {
	t.Parallel()
	f := protocol.Facts{Modules: []string{protocol.TaskDeploy, protocol.ModuleFact("ports"), "module:", "module:Not a name", protocol.TaskModule}}
	require.Equal(t, []string{"ports"}, f.OutsideModules())
}

// What is read is what is written, and fits its columns again.
func FuzzModuleRow(f *testing.F) {
	f.Add([]byte(`{"key":"a","name":"A","text":"x","integer":-3,"number":1.5,"boolean":true,"time":"2026-01-02T03:04:05Z","size":5}`))
	f.Add([]byte(`{"key":"a","text":null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		row, err := protocol.DecodeModuleRow(everyColumn(), line)
		if err != nil {
			return
		}
		out, err := json.Marshal(row)
		require.NoError(t, err)
		if len(out) >= protocol.MaxRow { // escaping made it longer
			return
		}
		again, err := protocol.DecodeModuleRow(everyColumn(), out)
		require.NoError(t, err)
		require.Equal(t, row, again)
	})
}
