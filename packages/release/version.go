package release

import (
	"strings"

	"golang.org/x/mod/semver"
)

// ValidVersion reports whether s is MAJOR.MINOR.PATCH of semantic versioning 2.0.0 (semver.org), with an
// optional pre-release and build part and without a leading v.
func ValidVersion(s string) bool {
	v := "v" + s
	return len(s) <= MaxVersion && semver.Canonical(v) != "" && semver.Canonical(v)+semver.Build(v) == v
}

// Compare orders versions as semantic versioning does: -1 when a is lower than b, 0 when they are equal, 1
// when a is higher. A leading v and build parts do not count, 1.2 is 1.2.0, and what is no version, as that
// of a build by hand, is lower than any.
func Compare(a, b string) int {
	return semver.Compare("v"+strings.TrimPrefix(a, "v"), "v"+strings.TrimPrefix(b, "v"))
}

// IsVersion reports whether Compare finds a version in s.
func IsVersion(s string) bool { return semver.IsValid("v" + strings.TrimPrefix(s, "v")) }
