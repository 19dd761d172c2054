package protocol

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster/muster/packages/fault"
)

// moduleFact begins what stands in Facts.Modules for a module from outside.
const moduleFact = TaskModule + ":"

// ModuleFact is what stands in Facts.Modules for a module from outside.
func ModuleFact(name string) string { return moduleFact + name }

// OutsideModules names the modules from outside that the device has.
func (f *Facts) OutsideModules() []string {
	var names []string
	for _, m := range f.Modules {
		if name, ok := strings.CutPrefix(m, moduleFact); ok && ValidModule(name) {
			names = append(names, name)
		}
	}
	return names
}

// MaxRowKey is the longest key of a module's row, in bytes.
const MaxRowKey = 512

// maxInteger is the greatest integer that a column holds: what comes after it, browsers cannot tell apart.
const maxInteger = 1<<53 - 1

// ModuleRow is a row of a module's section.
type ModuleRow struct {
	Row
	// Values are those of the columns, by name: string, int64, float64, bool or time.Time (UTC, whole
	// milliseconds). Those that the row leaves out, or that are null, are not there.
	Values map[string]any
}

// DecodeModuleRow reads a row and checks it by the columns of its section. Every error is a fault of code
// invalid, or too_large for a row of MaxRow bytes or more. Texts are not cleaned.
func DecodeModuleRow(columns []Column, line []byte) (ModuleRow, error) {
	row := ModuleRow{Values: map[string]any{}}
	if len(line) >= MaxRow {
		return row, fault.New(fault.TooLarge, "a row of %d bytes; at most %d are taken", len(line), MaxRow-1)
	}
	if !utf8.Valid(line) {
		return row, fault.New(fault.Invalid, "the row is not UTF-8")
	}
	seen := map[string]bool{}
	err := members(line, func(name string, value json.RawMessage) error {
		if seen[name] {
			return fault.New(fault.Invalid, "the row has %.60q twice", name)
		}
		seen[name] = true
		return row.set(columns, name, value)
	})
	switch {
	case err != nil:
		return row, err
	case row.Key == "" || len(row.Key) > MaxRowKey:
		return row, fault.New(fault.Invalid, "the row has no key of 1 to %d bytes", MaxRowKey)
	}
	return row, nil
}

// members calls fn with each member of one JSON object.
func members(data []byte, fn func(name string, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fault.New(fault.Invalid, "it is not a JSON object")
	}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return fault.New(fault.Invalid, "it is not valid JSON: %v", err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fault.New(fault.Invalid, "it is not valid JSON: %v", err)
		}
		if err := fn(name, value); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return fault.New(fault.Invalid, "it is not valid JSON: %v", err)
	}
	if len(bytes.TrimSpace(data[dec.InputOffset():])) > 0 {
		return fault.New(fault.Invalid, "something follows after the JSON object")
	}
	return nil
}

func (r *ModuleRow) set(columns []Column, name string, value json.RawMessage) error {
	switch name {
	case "key", "name":
		text, ok := scalar(value).(string)
		if !ok {
			return fault.New(fault.Invalid, "the row's %s is %.60s, not a text", name, value)
		}
		if name == "key" {
			r.Key = text
		} else {
			r.Name = text
		}
		return nil
	}
	i := slices.IndexFunc(columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return fault.New(fault.Invalid, "the row has %.60q, which is no column of the module", name)
	}
	v := scalar(value)
	if v == nil {
		if string(value) == "null" {
			return nil
		}
		return fault.New(fault.Invalid, "the row's %s is neither a text nor a number nor a boolean", name)
	}
	v, ok := columns[i].value(v)
	if !ok {
		return fault.New(fault.Invalid, "the row's %s is %.60s, which is no %s", name, value, columns[i].Type)
	}
	r.Values[name] = v
	return nil
}

// scalar is a JSON text, number or boolean; nil for anything else.
func scalar(data json.RawMessage) any {
	if len(data) == 0 || data[0] == '{' || data[0] == '[' {
		return nil
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return nil
	}
	return v
}

// value is what a column of its type keeps of v.
func (c Column) value(v any) (any, bool) {
	switch c.Type {
	case ColumnText:
		text, ok := v.(string)
		return text, ok
	case ColumnBoolean:
		b, ok := v.(bool)
		return b, ok
	case ColumnTime:
		text, ok := v.(string)
		t, err := time.Parse(time.RFC3339, text)
		return t.UTC().Truncate(time.Millisecond), ok && err == nil && t.Year() >= 1900 && t.Year() <= 2500
	}
	number, ok := v.(json.Number)
	if !ok {
		return nil, false
	}
	f, err := number.Float64()
	switch {
	case err != nil:
		return nil, false
	case c.Type == ColumnNumber:
		return f, true
	}
	whole := f == math.Trunc(f) && math.Abs(f) <= maxInteger
	return int64(f), whole && (c.Type == ColumnInteger || c.Type == ColumnBytes && f >= 0)
}

// MarshalJSON writes the row with its key first and its columns by name.
func (r ModuleRow) MarshalJSON() ([]byte, error) {
	object := make(map[string]any, len(r.Values))
	for name, v := range r.Values {
		object[name] = v
	}
	rest, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	head, err := json.Marshal(r.Row)
	if err != nil || len(object) == 0 {
		return head, err
	}
	return append(append(head[:len(head)-1], ','), rest[1:]...), nil
}
