package local

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/muster/muster/agent/internal/fragments"
	"github.com/muster/muster/packages/fault"
)

// Bounds of what a query may hold.
const (
	maxQuery      = 512 // bytes
	maxParameters = 8
	maxNumber     = 9 // digits of a fragment's number
)

// Names of actions, in queries and, but for download, as paths.
const (
	actionStatus   = "status"
	actionWakeup   = "wakeup"
	actionLog      = "log"
	actionDownload = "download"
)

// query is what a query string asks for.
type query struct {
	action   string // as given
	deviceID string
	file     string
}

// parseQuery reads a query string. The specification of the OCS Unified Agent separates the file of a
// download by a second question mark, so that and the ampersand mean the same here; other names are left
// alone, as agents and servers of other makers add their own.
func parseQuery(raw string) (query, error) {
	var q query
	if len(raw) > maxQuery {
		return q, fault.New(fault.Invalid, "the query is longer than %d bytes", maxQuery)
	}
	if raw == "" {
		return q, nil
	}
	parts := strings.FieldsFunc(raw, func(c rune) bool { return c == '&' || c == '?' })
	if len(parts) > maxParameters {
		return q, fault.New(fault.Invalid, "the query has more than %d parameters", maxParameters)
	}
	seen := map[string]bool{}
	for _, part := range parts {
		name, text, _ := strings.Cut(part, "=")
		value, err := url.QueryUnescape(text)
		if err != nil {
			return query{}, fault.New(fault.Invalid, "the value of %.40q in the query is not escaped as it must be", name)
		}
		switch name {
		case "action":
			q.action = value
		case "deviceid":
			q.deviceID = value
		case "file":
			q.file = value
		default:
			continue
		}
		if seen[name] {
			return query{}, fault.New(fault.Invalid, "the query has %q twice", name)
		}
		seen[name] = true
	}
	return q, nil
}

// parseFile reads the name of a fragment in a download: /ID/ID-n, with the package's id and the fragment's
// number from 1.
func parseFile(file string) (id string, number int, err error) {
	bad := fault.New(fault.Invalid, "a file to download is named /ID/ID-n, by the package's id and the fragment's number from 1")
	folder, name, ok := strings.Cut(strings.TrimPrefix(file, "/"), "/")
	if !ok || !strings.HasPrefix(file, "/") || !fragments.ValidID(folder) {
		return "", 0, bad
	}
	text, ok := strings.CutPrefix(name, folder+"-")
	if !ok || text == "" || len(text) > maxNumber || text[0] == '0' || strings.Trim(text, "0123456789") != "" {
		return "", 0, bad
	}
	number, err = strconv.Atoi(text)
	if err != nil {
		return "", 0, bad
	}
	return folder, number, nil
}
