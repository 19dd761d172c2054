package inventory

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// Limits of the files of accounts.
const (
	maxAccounts    = 4 << 20
	maxUsers       = 20_000
	maxMemberships = 200_000
)

// account is one line of passwd(5).
type account struct {
	name, password, gecos, home, shell string
	uid, gid                           int64
}

// findUsers lists the accounts of /etc/passwd. Which are locked stands in /etc/shadow, which is for root;
// nothing else of it is looked at.
func findUsers(_ context.Context, h *host) ([]protocol.User, error) {
	data, err := h.Read("etc/passwd", maxAccounts)
	if err != nil {
		return nil, err
	}
	accounts := parsePasswd(data)
	groupFile, err := h.Read("etc/group", maxAccounts)
	var problems []error
	if err != nil {
		problems = append(problems, err)
	}
	names, members := parseGroup(groupFile)
	locked, err := h.lockedPasswords()
	if err != nil {
		problems = append(problems, err)
	}
	admins := h.sudoers()
	first := firstUID(h.Bytes("etc/login.defs"))
	found := make([]protocol.User, 0, len(accounts))
	for _, a := range accounts {
		u := protocol.User{
			Row: protocol.Row{Key: a.name, Name: a.name}, UID: strconv.FormatInt(a.uid, 10), Home: a.home, Shell: a.shell,
			System: a.uid < first || a.uid >= 65534 || a.uid >= 61184 && a.uid <= 65519, // the latter are systemd's dynamic ones
			Locked: locked[a.name] || isLocked(a.password),
		}
		u.RealName, _, _ = strings.Cut(a.gecos, ",")
		u.Groups = slices.DeleteFunc(slices.Clone(members[a.name]), func(g string) bool { return g == names[a.gid] })
		slices.Sort(u.Groups)
		u.Groups = slices.Compact(u.Groups)
		u.Admin = a.uid == 0 || admins[a.name]
		for _, g := range append([]string{names[a.gid]}, u.Groups...) {
			u.Admin = u.Admin || g != "" && admins["%"+g]
		}
		found = append(found, u)
	}
	return found, errors.Join(problems...)
}

// parsePasswd reads passwd(5). Of accounts of one name the first counts, as for the system.
func parsePasswd(data []byte) []account {
	var list []account
	seen := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) < 7 || f[0] == "" || strings.ContainsAny(f[0][:1], "+-#") || seen[f[0]] { // + and - include others' lists
			continue
		}
		uid, err := strconv.ParseInt(f[2], 10, 64)
		gid, err2 := strconv.ParseInt(f[3], 10, 64)
		if err != nil || err2 != nil || uid < 0 || gid < 0 {
			continue
		}
		seen[f[0]] = true
		list = append(list, account{name: f[0], password: f[1], uid: uid, gid: gid, gecos: f[4], home: f[5], shell: f[6]})
		if len(list) == maxUsers {
			break
		}
	}
	return list
}

// parseGroup reads group(5): the names of groups, and the groups that name a user.
func parseGroup(data []byte) (names map[int64]string, members map[string][]string) {
	names, members = map[int64]string{}, map[string][]string{}
	n := 0
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":")
		if len(f) < 4 || f[0] == "" {
			continue
		}
		gid, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			continue
		}
		if _, ok := names[gid]; !ok {
			names[gid] = f[0]
		}
		for user := range strings.SplitSeq(f[3], ",") {
			if user = strings.TrimSpace(user); user != "" && n < maxMemberships {
				members[user] = append(members[user], f[0])
				n++
			}
		}
	}
	return names, members
}

// isLocked reports whether no password can match: passwd(1) -l and system accounts.
func isLocked(password string) bool {
	return strings.HasPrefix(password, "!") || strings.HasPrefix(password, "*")
}

// lockedPasswords are the accounts whose password in shadow(5) is locked.
func (h *host) lockedPasswords() (map[string]bool, error) {
	data, err := h.Read("etc/shadow", maxAccounts)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // a system without the file has the passwords elsewhere
	case errors.Is(err, fs.ErrPermission):
		return nil, errors.New("whether accounts are locked can be read by root only")
	case err != nil:
		return nil, err
	}
	locked := map[string]bool{}
	for line := range bytes.Lines(data) {
		f := bytes.SplitN(line, []byte(":"), 3)
		if len(f) == 3 && len(f[1]) > 0 && (f[1][0] == '!' || f[1][0] == '*') {
			locked[string(f[0])] = true
		}
	}
	clear(data)
	return locked, nil
}

// firstUID is the lowest number of a person, by login.defs(5).
func firstUID(data []byte) int64 {
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "UID_MIN" {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil && n > 0 && n < 1e6 {
				return n
			}
		}
	}
	return 1000
}

// sudoers are the users, and groups with %, that may run every command by sudoers(5). Where its files
// cannot be read they are the groups that usually may. Aliases are not followed.
func (h *host) sudoers() map[string]bool {
	found := map[string]bool{}
	data, err := h.Read("etc/sudoers", maxAccounts)
	if err != nil {
		for _, g := range []string{"%sudo", "%wheel", "%admin"} {
			found[g] = true
		}
		return found
	}
	parseSudoers(data, found)
	for _, name := range h.Names("etc/sudoers.d") {
		if !strings.ContainsAny(name, ".~") { // as sudo does
			parseSudoers(h.Bytes("etc/sudoers.d/"+name), found)
		}
	}
	return found
}

func parseSudoers(data []byte, found map[string]bool) {
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for scanner.Scan() && len(found) < maxUsers {
		line, _, _ := strings.Cut(scanner.Text(), "#")
		who, spec, ok := strings.Cut(strings.TrimSpace(line), "=")
		f := strings.Fields(who)
		if !ok || len(f) < 2 || strings.HasPrefix(f[0], "Defaults") || strings.HasSuffix(f[0], "_Alias") {
			continue
		}
		if _, after, ok := strings.Cut(spec, ")"); ok { // (root), (ALL:ALL)
			runas := spec[:len(spec)-len(after)]
			if !strings.Contains(runas, "ALL") && !strings.Contains(runas, "root") {
				continue
			}
			spec = after
		}
		command := spec[strings.LastIndexByte(spec, ':')+1:] // behind NOPASSWD:
		if slices.Contains(strings.FieldsFunc(command, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }), "ALL") {
			found[sysread.Clean(f[0])] = true
		}
	}
}
