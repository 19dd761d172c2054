package inventory

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/text"
)

// maxTitle is how many characters are kept of a column's title.
const maxTitle = 80

// encodeColumns is what is kept of the columns of a section; empty when no module fills it.
func encodeColumns(h protocol.SectionHead) string {
	if _, ok := protocol.SectionModule(h.Name); !ok {
		return ""
	}
	columns := make([]protocol.Column, len(h.Columns))
	for i, c := range h.Columns {
		columns[i] = protocol.Column{Name: c.Name, Title: text.Clean(c.Title, maxTitle), Type: c.Type}
	}
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(columns); err != nil { // they are texts alone, which can always be
		return "[]"
	}
	return strings.TrimSpace(out.String())
}

// decodeColumns reads what encodeColumns wrote.
func decodeColumns(kept string) []protocol.Column {
	var columns []protocol.Column
	if kept == "" || json.Unmarshal([]byte(kept), &columns) != nil {
		return nil
	}
	return columns
}

// decodeModuleRow checks a row by the columns of its module, and cleans its texts. FuzzRead takes it apart.
func decodeModuleRow(columns []protocol.Column, line []byte) (key string, value any, err error) {
	row, err := protocol.DecodeModuleRow(columns, bytes.TrimSpace(line))
	if err != nil {
		return "", nil, err
	}
	row.Name = text.Clean(row.Name, maxName)
	for name, v := range row.Values {
		if s, ok := v.(string); ok {
			row.Values[name] = text.Clean(s, maxText)
		}
	}
	return row.Key, row, nil
}
