package software

import (
	"bytes"
	"strings"
)

// distribution says whose packages a system has.
type distribution struct{ id string }

// readDistribution reads the os-release file (https://www.freedesktop.org/software/systemd/man/os-release.html).
func readDistribution(t *tree) distribution {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		if data, err := t.read(name); err == nil {
			return parseDistribution(data)
		}
	}
	return distribution{}
}

func parseDistribution(data []byte) distribution {
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		if value, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("ID=")); ok {
			return distribution{id: strings.ToLower(clean(strings.Trim(string(value), `"'`), 40))}
		}
	}
	return distribution{}
}

// namespace is the vendor in the package URLs of a system's packages, otherwise where the system does not
// say which it is.
func (d distribution) namespace(otherwise string) string {
	switch {
	case d.id == "":
		return otherwise
	case d.id == "rhel": // what Red Hat calls itself in the package URLs that it publishes
		return "redhat"
	case strings.HasPrefix(d.id, "opensuse"):
		return "opensuse"
	case d.id == "sles" || d.id == "sled" || strings.HasPrefix(d.id, "sles_"):
		return "suse"
	default:
		return d.id
	}
}
