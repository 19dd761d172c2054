package inventory

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/text"
)

// types are the sections that this version knows.
var types = map[string]reflect.Type{
	protocol.SectionSystem:      reflect.TypeFor[protocol.System](),
	protocol.SectionBIOS:        reflect.TypeFor[protocol.BIOS](),
	protocol.SectionCPUs:        reflect.TypeFor[protocol.CPU](),
	protocol.SectionMemory:      reflect.TypeFor[protocol.MemorySlot](),
	protocol.SectionStorage:     reflect.TypeFor[protocol.Disk](),
	protocol.SectionFilesystems: reflect.TypeFor[protocol.Filesystem](),
	protocol.SectionInterfaces:  reflect.TypeFor[protocol.Interface](),
	protocol.SectionControllers: reflect.TypeFor[protocol.Controller](),
	protocol.SectionMonitors:    reflect.TypeFor[protocol.Monitor](),
	protocol.SectionBatteries:   reflect.TypeFor[protocol.Battery](),
	protocol.SectionUsers:       reflect.TypeFor[protocol.User](),
	protocol.SectionSessions:    reflect.TypeFor[protocol.LoginSession](),
	protocol.SectionSoftware:    reflect.TypeFor[protocol.Software](),
	protocol.SectionProcesses:   reflect.TypeFor[protocol.Process](),
}

// rows are the cleaned rows of a section.
type rows struct {
	values  []any  // pointers to the section's type; none of an unknown section
	count   int    // of rows kept
	dropped int    // rows that have no usable key
	content []byte // the rows as JSON lines, gzip
}

// remark says what was left out.
func (r rows) remark() string {
	switch r.dropped {
	case 0:
		return ""
	case 1:
		return "The server left 1 row out: its key is empty, too long or holds control characters."
	default:
		return fmt.Sprintf("The server left %d rows out: their keys are empty, too long or hold control characters.", r.dropped)
	}
}

// read unpacks, checks, decodes and cleans the rows of an upload. Columns are those of a module's section.
func read(u Upload, columns []protocol.Column) (rows, error) {
	decode := decoder(u.Section, columns)
	unpacked, err := gzip.NewReader(bytes.NewReader(u.Packed))
	if err != nil {
		return rows{}, refuse("section %s is not packed by gzip: %v", u.Section, err)
	}
	sum := sha256.New()
	whole := &io.LimitedReader{R: unpacked, N: protocol.MaxSectionBytes + 1}
	in := bufio.NewReaderSize(io.TeeReader(whole, sum), protocol.MaxRow+1)
	var out rows
	packed := &bytes.Buffer{}
	packer := gzip.NewWriter(packed)
	enc := json.NewEncoder(packer)
	enc.SetEscapeHTML(false)
	last := ""
	for n := 1; ; n++ {
		line, err := nextLine(in, u.Section, n)
		if whole.N == 0 {
			return rows{}, fault.New(fault.TooLarge, "section %s has over %d bytes", u.Section, protocol.MaxSectionBytes)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return rows{}, err
		}
		if n > protocol.MaxSectionRows {
			return rows{}, fault.New(fault.TooLarge, "section %s has over %d rows", u.Section, protocol.MaxSectionRows)
		}
		key, value, err := decode(line)
		if err != nil {
			return rows{}, refuse("row %d of section %s: %v", n, u.Section, err)
		}
		if n > 1 && key <= last {
			return rows{}, refuse("row %d of section %s has the key %.60q after %.60q; keys must be unique and sorted", n, u.Section, key, last)
		}
		last = key
		if key == "" || len(key) > maxKey || text.Clean(key, maxKey) != key {
			out.dropped++
			continue
		}
		out.count++
		if types[u.Section] != nil {
			out.values = append(out.values, value)
		}
		if err := enc.Encode(value); err != nil {
			return rows{}, fmt.Errorf("encode row of section %s: %w", u.Section, err)
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != u.SHA256 {
		return rows{}, fault.New(fault.Untrusted, "section %s has the SHA-256 digest %s, not %.64s as was said", u.Section, got, u.SHA256)
	}
	if err := packer.Close(); err != nil {
		return rows{}, fmt.Errorf("pack section %s: %w", u.Section, err)
	}
	if out.content = packed.Bytes(); len(out.content) > MaxPacked {
		return rows{}, fault.New(fault.TooLarge, "section %s has over %d bytes, packed", u.Section, MaxPacked)
	}
	return out, nil
}

// nextLine returns the next line without its end; io.EOF when there is none.
func nextLine(in *bufio.Reader, section string, n int) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	switch {
	case err == nil && !utf8.Valid(line):
		return nil, refuse("row %d of section %s is not UTF-8", n, section)
	case err == nil:
		return line[:len(line)-1], nil
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fault.New(fault.TooLarge, "row %d of section %s has over %d bytes", n, section, protocol.MaxRow)
	case errors.Is(err, io.EOF) && len(line) == 0:
		return nil, io.EOF
	case errors.Is(err, io.EOF):
		return nil, refuse("the last row of section %s has no end", section)
	default:
		return nil, refuse("section %s is damaged: %v", section, err)
	}
}

// decoder is how the rows of a section are read.
func decoder(section string, columns []protocol.Column) func(line []byte) (key string, value any, err error) {
	if _, ok := protocol.SectionModule(section); ok {
		return func(line []byte) (string, any, error) { return decodeModuleRow(columns, line) }
	}
	return func(line []byte) (string, any, error) { return decodeRow(section, line) }
}

// decodeRow returns a row's key and the cleaned row: a pointer to the section's type, or a map.
func decodeRow(section string, line []byte) (key string, value any, err error) {
	if known := types[section]; known != nil {
		v := reflect.New(known)
		if err := json.Unmarshal(line, v.Interface()); err != nil {
			return "", nil, err
		}
		cleanRow(v.Elem())
		base, _ := v.Elem().Field(0).Interface().(protocol.Row) // every type begins with it
		return base.Key, v.Interface(), nil
	}
	var object map[string]any
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if err := dec.Decode(&object); err != nil {
		return "", nil, err
	}
	if object == nil || dec.More() {
		return "", nil, errors.New("it is not one object")
	}
	key, _ = object["key"].(string)
	value = cleanAny(object, 0)
	if m, ok := value.(map[string]any); ok {
		m["key"] = key
	}
	return key, value, nil
}

func names(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// Row is a row as it is kept.
type Row map[string]any

// Key names the thing within its section.
func (r Row) Key() string {
	key, _ := r["key"].(string)
	return key
}

// lines calls fn with each kept row until it returns false.
func lines(content []byte, fn func(line []byte) (more bool, err error)) error {
	if len(content) == 0 {
		return nil
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("unpack inventory: %w", err)
	}
	in := bufio.NewReader(unpacked)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpack inventory: %w", err)
		}
		more, err := fn(line)
		if err != nil {
			return fmt.Errorf("read inventory: %w", err)
		}
		if !more {
			return nil
		}
	}
}

// search finds kept rows that come after the key and hold the text, in any case of its letters.
func search(content []byte, query, after string, limit int) ([]Row, error) {
	found := []Row{}
	query = strings.ToLower(query)
	err := lines(content, func(line []byte) (bool, error) {
		var r Row
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber() // as it was written
		if err := dec.Decode(&r); err != nil {
			return false, err
		}
		if r.Key() > after && (query == "" || holds(map[string]any(r), query)) {
			found = append(found, r)
		}
		return len(found) < limit, nil
	})
	return found, err
}

// holds reports whether a value has the text, in small letters, somewhere.
func holds(v any, query string) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(strings.ToLower(v), query)
	case json.Number:
		return strings.Contains(v.String(), query)
	case map[string]any:
		for _, e := range v {
			if holds(e, query) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if holds(e, query) {
				return true
			}
		}
	}
	return false
}

// typed reads the kept rows of a known section. What an older version of the server kept otherwise is left out.
func typed(section string, content []byte) ([]any, error) {
	var values []any
	err := lines(content, func(line []byte) (bool, error) {
		v := reflect.New(types[section])
		if json.Unmarshal(line, v.Interface()) == nil {
			values = append(values, v.Interface())
		}
		return true, nil
	})
	return values, err
}

// first reads the first row; nil when there is none.
func first[T any](content []byte) *T {
	var out *T
	err := lines(content, func(line []byte) (bool, error) {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			return false, err
		}
		out = &v
		return false, nil
	})
	if err != nil {
		return nil
	}
	return out
}
