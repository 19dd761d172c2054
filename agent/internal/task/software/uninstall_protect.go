package software

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/launch"
	"github.com/muster/muster/agent/internal/proc"
	"github.com/muster/muster/packages/protocol"
)

// agentName is the package that this agent comes in.
const agentName = "muster-agent"

// ownerLimit is how long a manager may take to say whose a file is.
const ownerLimit = time.Minute

// protected says why a program must stay; empty when it may go.
func (u *uninstalling) protected(ctx context.Context, m *manager, row *protocol.Software) (string, error) {
	for _, name := range []string{u.refs[row.Key].Name, row.Name} {
		if why := u.protectedName(name); why != "" {
			return why, nil
		}
	}
	if row.Essential {
		return "the system does not work without it", nil
	}
	own, err := u.owner(ctx, m)
	if err != nil {
		return "", err
	}
	if slices.Contains(strings.Fields(own), row.Name) {
		return "this agent is a part of it; remove the device to remove its agent", nil
	}
	return "", nil
}

// protectedName says why no program of the name may go, whatever it comes from.
func (u *uninstalling) protectedName(name string) string {
	if name == agentName {
		return "it is this agent; remove the device to remove its agent"
	}
	for _, pattern := range u.config.Uninstall.Protected {
		if ok, _ := path.Match(pattern, name); ok { // the configuration was validated
			return fmt.Sprintf("the configuration of this device protects %q", pattern)
		}
	}
	return ""
}

// owner names the packages that this very program belongs to, separated by spaces.
func (u *uninstalling) owner(ctx context.Context, m *manager) (string, error) {
	if m.owner == nil {
		return "", nil
	}
	if own, ok := u.own[m.source]; ok {
		return own, nil
	}
	self := u.in.Program.Installed // whatever runs in its place
	if self == "" {
		p, err := launch.Running()
		if err != nil {
			return "", err
		}
		self = p.Installed
	}
	paths := []string{self}
	if short, ok := strings.CutPrefix(self, "/usr"); ok {
		paths = append(paths, short) // where /bin is a link, packages may name either
	}
	var names []string
	for _, file := range paths {
		// Any exit code is an answer: a file that is nobody's is what most of them call a failure.
		out, _, err := proc.Output(ctx, u.program(append(slices.Clone(m.owner), file)), os.TempDir(), environment, ownerLimit)
		if err != nil {
			return "", fmt.Errorf("ask whose %s is: %w", file, err)
		}
		names = append(names, owners(string(out))...)
	}
	u.own[m.source] = strings.Join(names, " ")
	return u.own[m.source], nil
}

// ownerName is a package in what the managers print: "name", "name: /path", "name:arch, other: /path".
var ownerName = grammar(`^([A-Za-z0-9][A-Za-z0-9@._+-]*)(:[a-z0-9-]+)?(, |: |$)`)

// owners takes the packages from lines as "one, two:amd64: /usr/bin/program". Other lines say that the file
// is nobody's.
func owners(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		rest, found := strings.TrimSuffix(line, "\n"), []string(nil)
		for {
			m := ownerName().FindStringSubmatch(rest)
			if m == nil {
				break
			}
			found, rest = append(found, m[1]), rest[len(m[0]):]
			if m[3] != ", " {
				if m[3] == "" || strings.HasPrefix(rest, "/") {
					names = append(names, found...)
				}
				break
			}
		}
	}
	return names
}
