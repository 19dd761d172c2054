package inventory

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// maxKey is the longest key in bytes; a server takes no longer one for software.
const maxKey = 512

// lines are the rows of one section as they are sent.
type lines struct {
	data    []byte
	rows    int
	problem string
}

func (l *lines) digest() string {
	sum := sha256.Sum256(l.data)
	return hex.EncodeToString(sum[:])
}

// line is one row of a section.
type line struct {
	key  string
	row  any
	json []byte
}

// encode cleans and sorts rows and writes them, one JSON object a line. Every T begins with a protocol.Row.
// Rows of equal keys are told apart by a number, rows beyond the bounds of the protocol are left out.
func encode[T any](found []T) *lines {
	l := &lines{}
	all := make([]line, 0, len(found))
	for i := range found {
		clean(reflect.ValueOf(&found[i]).Elem())
		row := rowOf(&found[i])
		if row.Name == "" {
			row.Name = row.Key
		}
		one := line{key: row.Key, row: &found[i]}
		if err := one.marshal(); err != nil { // no type of the protocol can fail
			l.problem = fmt.Sprintf("%s cannot be told: %v", row.Key, err)
			continue
		}
		all = append(all, one)
	}
	if distinguish(all) {
		slices.SortFunc(all, compareLines)
	}
	for _, one := range all {
		switch {
		case len(one.json) >= protocol.MaxRow:
			l.problem = fmt.Sprintf("%.100s was left out: it is longer than %d bytes", one.key, protocol.MaxRow)
			continue
		case l.rows == protocol.MaxSectionRows, len(l.data)+len(one.json) >= protocol.MaxSectionBytes:
			l.problem = fmt.Sprintf("only the first %d of %d are told", l.rows, len(all))
			return l
		}
		l.data = append(append(l.data, one.json...), '\n')
		l.rows++
	}
	return l
}

func compareLines(a, b line) int {
	return cmp.Or(cmp.Compare(a.key, b.key), bytes.Compare(a.json, b.json))
}

func (l *line) marshal() (err error) {
	l.json, err = json.Marshal(l.row)
	return err
}

// distinguish sorts rows and gives those of equal keys keys of their own, the same each time. It reports
// whether there were any.
func distinguish(all []line) bool {
	slices.SortFunc(all, compareLines)
	any := false
	used, last := make(map[string]bool, len(all)), map[string]int{}
	for i := range all {
		used[all[i].key] = true
	}
	for i := range all {
		one := &all[i]
		if i == 0 || one.key != all[i-1].key {
			continue
		}
		any = true
		fresh := one.key
		for n := max(last[one.key], 1) + 1; used[fresh]; n++ {
			fresh = sysread.CleanTo(one.key, maxKey-8) + "#" + strconv.Itoa(n)
			last[one.key] = n
		}
		used[fresh] = true
		rowOf(one.row).Key = fresh
		_ = one.marshal() // it could be before
	}
	for i := range all {
		all[i].key = rowOf(all[i].row).Key
	}
	return any
}

func rowOf(v any) *protocol.Row {
	return reflect.ValueOf(v).Elem().Field(0).Addr().Interface().(*protocol.Row) //nolint:forcetypeassert // every row of the protocol begins with one
}

// maxList bounds lists within a row, such as the groups of a user.
const maxList = 100

// clean makes every text of a row fit for the wire, whichever collector found it.
func clean(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if row, ok := v.Addr().Interface().(*protocol.Row); ok {
			row.Key, row.Name = key(row.Key), sysread.Clean(row.Name)
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				clean(v.Field(i))
			}
		}
	case reflect.String:
		v.SetString(sysread.Clean(v.String()))
	case reflect.Slice:
		if v.Len() > maxList {
			v.Set(v.Slice(0, maxList))
		}
		for i := range v.Len() {
			clean(v.Index(i))
		}
	default: // numbers, and times by pointer
	}
}

// key is a key that is fit for the wire; a longer one ends in a digest of itself, to stay one of its own.
func key(s string) string {
	k := sysread.CleanTo(s, maxKey)
	if len(s) > maxKey {
		sum := sha256.Sum256([]byte(s))
		k = sysread.CleanTo(s, maxKey-20) + "~" + hex.EncodeToString(sum[:8])
	}
	if k == "" {
		return "-"
	}
	return k
}
