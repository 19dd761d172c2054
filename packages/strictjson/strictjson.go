// Package strictjson decodes signed documents so that two readers can never understand the same bytes
// differently.
//
// encoding/json matches keys without regard to case, lets the last of two equal keys win, ignores what
// follows the value and turns broken text into U+FFFD. For a document whose signature decides what runs
// on a computer each of these is a hole. Decode refuses all of them, and null, before it fills anything.
// It keeps no state, uses only the standard library, and may be called by anyone.
package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds nesting; our documents need five levels.
const maxDepth = 16

// Decode fills v, a pointer to a struct, from one JSON object. Keys must be spelled exactly as v's
// json tags say. The error names the place and is made for people; v is untouched when keys are wrong.
func Decode(data []byte, v any) error {
	if err := Scan(data, v); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	return nil
}

// Scan checks the shape of data as Decode does, without filling anything. With a nil v any key is
// known, but duplicate and case-variant keys, null, trailing data and broken text are refused all the
// same.
func Scan(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("the text is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	s := scanner{dec: dec}
	var t reflect.Type
	if v != nil {
		t = reflect.TypeOf(v)
	}
	if err := s.value("", t, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data follows the document")
	}
	return nil
}

type scanner struct {
	dec *json.Decoder
}

// value reads one value whose Go type is t; a nil t knows no keys and so allows all.
func (s *scanner) value(at string, t reflect.Type, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is nested deeper than %d levels", place(at), maxDepth)
	}
	tok, err := s.dec.Token()
	if err != nil {
		return fmt.Errorf("read %s: %w", place(at), err)
	}
	switch tok {
	case nil:
		return fmt.Errorf("%s is null", place(at))
	case json.Delim('{'):
		return s.object(at, plain(t), depth)
	case json.Delim('['):
		return s.array(at, plain(t), depth)
	default:
		return nil
	}
}

func (s *scanner) object(at string, t reflect.Type, depth int) error {
	seen := map[string]string{}
	for s.dec.More() {
		tok, err := s.dec.Token()
		if err != nil {
			return fmt.Errorf("read a key of %s: %w", place(at), err)
		}
		key, ok := tok.(string)
		if !ok {
			return fmt.Errorf("%s has a key that is no text", place(at))
		}
		fold := strings.ToLower(key)
		if before, twice := seen[fold]; twice {
			return fmt.Errorf("%s has the key %q twice (also as %q)", place(at), key, before)
		}
		seen[fold] = key
		sub, err := member(at, t, key)
		if err != nil {
			return err
		}
		if err := s.value(join(at, key), sub, depth+1); err != nil {
			return err
		}
	}
	return s.end(at)
}

func (s *scanner) array(at string, t reflect.Type, depth int) error {
	var elem reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		elem = t.Elem()
	}
	for n := 0; s.dec.More(); n++ {
		if err := s.value(fmt.Sprintf("%s[%d]", at, n), elem, depth+1); err != nil {
			return err
		}
	}
	return s.end(at)
}

func (s *scanner) end(at string) error {
	if _, err := s.dec.Token(); err != nil {
		return fmt.Errorf("read the end of %s: %w", place(at), err)
	}
	return nil
}

// member is the type of the value under key, or an error when a struct has no such key.
func member(at string, t reflect.Type, key string) (reflect.Type, error) {
	if t == nil {
		return nil, nil
	}
	switch t.Kind() {
	case reflect.Map:
		return t.Elem(), nil
	case reflect.Struct:
	default:
		return nil, nil // json.Decode reports the wrong kind
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name == key {
			return f.Type, nil
		}
		if strings.EqualFold(name, key) {
			return nil, fmt.Errorf("%s is spelled %q", place(join(at, name)), key)
		}
	}
	return nil, fmt.Errorf("%s is an unknown key", place(join(at, key)))
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// plain strips pointers; types that decode themselves have no keys that we know.
func plain(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || reflect.PointerTo(t).Implements(jsonUnmarshaler) || reflect.PointerTo(t).Implements(textUnmarshaler) {
		return nil
	}
	return t
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

func place(at string) string {
	if at == "" {
		return "the document"
	}
	if len(at) > 200 {
		at = at[:200] + "…"
	}
	return fmt.Sprintf("%q", at)
}
