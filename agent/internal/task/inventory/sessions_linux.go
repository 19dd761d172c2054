package inventory

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// maxUtmp bounds the file of logins, some 2,700 records.
const maxUtmp = 1 << 20

// findSessions lists who is logged in, by systemd-logind and by utmp(5) for terminals that it does not
// know.
func findSessions(_ context.Context, h *host) ([]protocol.LoginSession, error) {
	found := []protocol.LoginSession{}
	known := map[string]bool{}
	for _, id := range h.Names("run/systemd/sessions") {
		if strings.Contains(id, ".") { // id.ref are pipes
			continue
		}
		s, ok := parseSession(id, h.Bytes("run/systemd/sessions/"+id))
		if ok {
			found = append(found, s)
			known[s.Terminal] = true
		}
	}
	for _, file := range []string{"run/utmp", "var/run/utmp"} {
		data, err := h.Read(file, maxUtmp)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return found, err
		}
		for _, u := range parseUtmp(data) {
			if !known[u.session.Terminal] && h.Exists("proc/"+strconv.Itoa(u.pid)) { // a crash leaves records
				found = append(found, u.session)
			}
		}
		break
	}
	return found, nil
}

// parseSession reads a session of systemd-logind: NAME=value by lines. Its own sessions for services and
// for choosing who logs in are none of a person.
func parseSession(id string, data []byte) (protocol.LoginSession, bool) {
	s := protocol.LoginSession{Row: protocol.Row{Key: "session-" + id}}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "USER":
			s.Name = sysread.Clean(value)
		case "TTY":
			s.Terminal = sysread.Clean(value)
		case "DISPLAY":
			if s.Terminal == "" {
				s.Terminal = sysread.Clean(value)
			}
		case "REMOTE_HOST":
			s.From = sysread.Clean(value)
		case "CLASS":
			if !strings.HasPrefix(value, "user") {
				return s, false
			}
		case "STATE":
			if value == "closing" {
				return s, false
			}
		case "REALTIME":
			if us, err := strconv.ParseInt(value, 10, 64); err == nil && us > 0 && us < 1<<52 {
				at := time.UnixMicro(us).UTC().Truncate(time.Second)
				s.Since = &at
			}
		}
	}
	return s, s.Name != ""
}

// utmpSize is the size of a record on every Linux but some 64-bit ARM and RISC-V ones, which have records
// of 400 bytes with times of 64 bits.
const (
	utmpSize     = 384
	utmpSizeLong = 400
)

type login struct {
	pid     int
	session protocol.LoginSession
}

// parseUtmp reads the records of people (USER_PROCESS, 7) of utmp(5): type and process, then terminal at
// byte 8, user at 44, host at 76, the time after the session's number at 336, and the address.
func parseUtmp(data []byte) []login {
	size := utmpSize
	if len(data)%utmpSize != 0 && len(data)%utmpSizeLong == 0 {
		size = utmpSizeLong
	}
	var found []login
	for ; len(data) >= size; data = data[size:] {
		r := data[:size]
		if binary.LittleEndian.Uint16(r) != 7 {
			continue
		}
		pid := int32(binary.LittleEndian.Uint32(r[4:]))
		l := login{pid: int(pid), session: protocol.LoginSession{
			Terminal: fixed(r[8:40]), From: fixed(r[76:332]), Row: protocol.Row{Name: fixed(r[44:76])},
		}}
		seconds, address := int64(binary.LittleEndian.Uint32(r[340:])), r[348:364]
		if size == utmpSizeLong {
			seconds, address = int64(binary.LittleEndian.Uint64(r[344:])), r[360:376]
		}
		if l.session.From == "" {
			l.session.From = utmpAddress(address)
		}
		if seconds > 0 && seconds < 1<<36 {
			at := time.Unix(seconds, 0).UTC()
			l.session.Since = &at
		}
		l.session.Key = "terminal-" + l.session.Terminal
		if pid > 0 && l.session.Name != "" {
			found = append(found, l)
		}
	}
	return found
}

func utmpAddress(raw []byte) string {
	if bytes.Equal(raw, make([]byte, 16)) {
		return ""
	}
	if bytes.Equal(raw[4:], make([]byte, 12)) {
		return netip.AddrFrom4([4]byte(raw[:4])).String()
	}
	return netip.AddrFrom16([16]byte(raw)).String()
}

// fixed is a text in a field of fixed length.
func fixed(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return sysread.Clean(string(b))
}
