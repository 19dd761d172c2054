package software

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"golang.org/x/sys/windows/registry"

	"github.com/muster/muster/packages/protocol"
)

// uninstallKey is where installers register what they installed
// (https://learn.microsoft.com/windows/win32/msi/uninstall-registry-key).
const uninstallKey = `Software\Microsoft\Windows\CurrentVersion\Uninstall`

// maxProfiles bounds the users whose own programs are listed.
const maxProfiles = 1000

// readRegistry reads the programs of the computer, of 64 and of 32 bits, and of each user who is logged in.
func readRegistry(s *scan) error {
	s.found = true
	problems := []error{
		s.registered(registry.LOCAL_MACHINE, uninstallKey, registry.WOW64_64KEY, "x64", ""),
		s.registered(registry.LOCAL_MACHINE, uninstallKey, registry.WOW64_32KEY, "x86", ""),
	}
	profiles, err := registry.USERS.ReadSubKeyNames(maxProfiles)
	if err != nil && !errors.Is(err, io.EOF) {
		problems = append(problems, fmt.Errorf("list the users: %w", err))
	}
	for _, sid := range profiles {
		if !strings.HasSuffix(sid, "_Classes") && s.ctx.Err() == nil {
			problems = append(problems, s.registered(registry.USERS, sid+`\`+uninstallKey, 0, "", sid))
		}
	}
	return joinSome(problems)
}

// registered reads one list of programs.
func (s *scan) registered(root registry.Key, path string, view uint32, arch, user string) error {
	list, err := registry.OpenKey(root, path, registry.READ|view)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer list.Close()
	names, err := list.ReadSubKeyNames(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("list %s: %w", path, err)
	}
	for _, name := range names {
		program, err := registry.OpenKey(list, name, registry.READ|view)
		if err != nil { // uninstalled meanwhile
			continue
		}
		s.addRegistered(program, name, arch, user)
		program.Close()
	}
	return nil
}

// addRegistered takes one program. Updates, and what an installer hides because it belongs to something
// else, are left out, as in Windows' own list.
func (s *scan) addRegistered(k registry.Key, id, arch, user string) {
	text := func(name string) string {
		value, _, err := k.GetStringValue(name)
		if err != nil {
			return ""
		}
		return value
	}
	count := func(name string) int64 {
		value, _, err := k.GetIntegerValue(name)
		if err != nil || value > 1<<40 {
			return 0
		}
		return int64(value)
	}
	name := text("DisplayName")
	if name == "" || text("ParentKeyName") != "" || count("SystemComponent") == 1 {
		return
	}
	version := text("DisplayVersion")
	s.add(Ref{Name: name, Version: version, Arch: arch, Qualifiers: map[string]string{"id": id, "user": user}}, protocol.Software{
		Row: protocol.Row{Name: name}, Version: version, Publisher: text("Publisher"), Summary: text("Comments"), Arch: arch,
		SizeBytes: count("EstimatedSize") << 10, InstalledAt: date("20060102", text("InstallDate")),
	})
}
