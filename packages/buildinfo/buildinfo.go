// Package buildinfo says which build of Muster is running. Version and Commit are set by the linker:
//
//	go build -ldflags "-X github.com/muster/muster/packages/buildinfo.Version=1.2.3"
//
// They are constant after that; every program may read them.
package buildinfo

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is the released version, or "dev". Commit is the source revision, or empty; String finds the
// one the Go tool recorded when the linker was not told.
var (
	Version = "dev"
	Commit  = ""
)

// Revision is the source revision this build was made from, shortened to 12 characters; empty when
// unknown.
func Revision() string {
	rev := Commit
	if rev == "" {
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					rev = s.Value
				}
			}
		}
	}
	if len(rev) > 12 {
		rev = rev[:12]
	}
	return rev
}

// String is one line for people: version, revision, Go version and platform.
func String() string {
	rev := Revision()
	if rev != "" {
		rev += ", "
	}
	return fmt.Sprintf("%s (%s%s, %s/%s)", Version, rev, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
