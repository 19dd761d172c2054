package inventory

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/muster/muster/packages/protocol"
)

// TestFilesystems_oneThatDoesNotAnswer: a server that is away costs its own row's figures only.
func TestFilesystems_oneThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	o := unpack(t, `
-- proc/self/mountinfo --
27 1 254:0 / / rw - ext4 /dev/vda rw
28 1 0:5 / /mnt/away rw - nfs4 server:/x rw
29 1 254:1 / /srv rw - ext4 /dev/vdb rw
-- fixture/space --
/ 1000 500
/srv 2000 500
`)
	never, over := make(chan struct{}), make(chan time.Time)
	close(over)
	t.Cleanup(func() { close(never) })
	o.calls.spaceOver = func(path string) <-chan time.Time {
		if path == "/mnt/away" {
			return over
		}
		return nil
	}
	known := o.calls.space
	o.calls.space = func(path string) (int64, int64, error) {
		if path == "/mnt/away" {
			<-never
		}
		return known(path)
	}
	got := collect(t.Context(), o, collectors)
	valid(t, got)
	s := named(t, got, protocol.SectionFilesystems)
	require.Equal(t, 3, s.Rows)
	require.Equal(t, "/mnt/away: the file system does not answer", s.Problem)
	require.Contains(t, string(s.Lines), `"key":"/srv","name":"/srv","device":"/dev/vdb","type":"ext4","bytes":2000,"free_bytes":500`)
}

// TestCollect_pipesInPlaceOfFiles: nobody writes to them, and nothing waits for it.
func TestCollect_pipesInPlaceOfFiles(t *testing.T) {
	t.Parallel()
	o := unpack(t, "-- etc/ --\n-- proc/self/ --\n-- run/systemd/sessions/ --\n-- sys/firmware/dmi/tables/ --\n-- usr/share/misc/ --\n"+
		"-- sys/bus/pci/devices/0/vendor --\n0x8086\n-- sys/bus/pci/devices/0/device --\n0x0001\n")
	for _, path := range []string{
		"etc/passwd", "etc/shadow", "etc/os-release", "proc/cpuinfo", "proc/meminfo", "proc/self/mountinfo", "run/systemd/sessions/1", "run/utmp", "sys/firmware/dmi/tables/DMI", "usr/share/misc/pci.ids",
	} {
		require.NoError(t, unix.Mkfifo(o.Root+"/"+path, 0o600))
	}
	got := Collect(t.Context(), o)
	valid(t, got)
	require.Contains(t, named(t, got, protocol.SectionUsers).Problem, "it is no regular file")
	require.Equal(t, 1, named(t, got, protocol.SectionControllers).Rows)
	require.Equal(t, 1, named(t, got, protocol.SectionSystem).Rows)
}
