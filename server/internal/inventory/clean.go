package inventory

import (
	"reflect"
	"time"

	"github.com/muster/muster/server/internal/text"
)

// Bounds of what is kept, in characters and numbers.
const (
	maxKey     = 512 // bytes
	maxName    = 255
	maxText    = 500
	maxProblem = 900
	maxListed  = 100 // texts in a list
	maxFields  = 64  // of an object of an unknown section
	maxDepth   = 4   // of one
)

// Bounds of texts that columns hold.
var narrow = map[string]int{"Name": maxName, "Version": maxName, "Publisher": maxName, "Source": 40, "Arch": 40, "Condition": 120}

// cleanRow cleans every text of a row of a known type, and bounds lists, numbers and times. Keys are left:
// they are refused when they are not clean.
func cleanRow(v reflect.Value) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case f.Kind() == reflect.Struct:
			cleanRow(f)
		case name == "Key":
		default:
			cleanField(f, name)
		}
	}
}

func cleanField(f reflect.Value, name string) {
	switch x := f.Addr().Interface().(type) {
	case *string:
		n := maxText
		if narrower, ok := narrow[name]; ok {
			n = narrower
		}
		*x = text.Clean(*x, n)
	case *[]string:
		kept := make([]string, 0, min(len(*x), maxListed))
		for _, s := range *x {
			if s = text.Clean(s, maxName); s != "" && len(kept) < maxListed {
				kept = append(kept, s)
			}
		}
		*x = kept
	case **time.Time:
		*x = cleanTime(*x)
	case *int:
		*x = max(0, *x)
	case *int64:
		*x = max(0, *x)
	}
}

// cleanTime forgets what databases and people cannot use.
func cleanTime(t *time.Time) *time.Time {
	if t == nil || t.Year() < 1970 || t.Year() > 2200 {
		return nil
	}
	utc := t.UTC().Truncate(time.Millisecond)
	return &utc
}

// cleanAny cleans a value of a section that this version does not know. What is too deep or too much is
// left out.
func cleanAny(v any, depth int) any {
	switch v := v.(type) {
	case string:
		return text.Clean(v, maxText)
	case map[string]any:
		if depth == maxDepth {
			return nil
		}
		out := map[string]any{}
		for _, name := range names(v) {
			if short := text.Clean(name, 60); short != "" && len(out) < maxFields {
				out[short] = cleanAny(v[name], depth+1)
			}
		}
		return out
	case []any:
		if depth == maxDepth {
			return nil
		}
		out := make([]any, 0, min(len(v), maxListed))
		for _, e := range v[:min(len(v), maxListed)] {
			out = append(out, cleanAny(e, depth+1))
		}
		return out
	default:
		return v
	}
}
