package facts

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRead_thisComputer(t *testing.T) {
	t.Parallel()
	f := Read([]string{"deploy"})
	require.Equal(t, "linux", f.OS)
	require.NotEmpty(t, f.Hostname)
	require.NotEmpty(t, f.OSName)
	require.NotEmpty(t, f.Kernel)
	require.Greater(t, f.MemoryBytes, int64(64<<20))
	require.Positive(t, f.Cores)
	require.Equal(t, os.Geteuid() == 0, f.Privileged)
	require.Equal(t, []string{"deploy"}, f.TasksAllowed)
	require.Equal(t, f.BootID, BootID(), "the boot id does not change between boots")
	require.Len(t, f.BootID, 36)
	require.True(t, f.BootedAt.Before(time.Now()))
	require.Equal(t, []string{}, Read(nil).TasksAllowed, "no task allowed is an empty list, not null")
}

func TestOSRelease(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ text, name, version string }{
		"debian":    {"PRETTY_NAME=\"Debian GNU/Linux 12\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n", "Debian GNU/Linux", "12"},
		"arch":      {"NAME='Arch Linux'\nID=arch\n", "Arch Linux", ""},
		"unquoted":  {"NAME=Fedora\nVERSION_ID=44", "Fedora", "44"},
		"nothing":   {"", "", ""},
		"no values": {"NAME\nVERSION_ID\n", "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, v := osRelease([]byte(c.text))
			require.Equal(t, c.name, n)
			require.Equal(t, c.version, v)
		})
	}
}

func TestParsers(t *testing.T) {
	t.Parallel()
	require.Equal(t, "AMD EPYC 9", cpuModel([]byte("processor\t: 0\nmodel name\t: AMD EPYC 9\nprocessor : 1\nmodel name : other\n")))
	require.Equal(t, "Raspberry Pi 4", cpuModel([]byte("processor : 0\nModel : Raspberry Pi 4\n")))
	require.Empty(t, cpuModel([]byte("garbage")))
	require.Equal(t, int64(2048<<10), memoryTotal([]byte("MemFree: 1 kB\nMemTotal:        2048 kB\n")))
	require.Zero(t, memoryTotal([]byte("MemTotal: lots kB\n")))
	require.Zero(t, memoryTotal([]byte("MemTotal: -5 kB\n")))
	require.Equal(t, int64(1700000000), bootTime([]byte("cpu 1 2\nbtime 1700000000\n")).Unix())
	require.True(t, bootTime([]byte("btime soon\n")).IsZero())
}

func TestClean_boundsAndRepairs(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a\uFFFDb", clean(" a\xffb\n"))
	long := clean(strings.Repeat("é", 400))
	require.LessOrEqual(t, len(long), maxText)
	require.Equal(t, strings.Repeat("é", len(long)/2), long)
}

func FuzzSystemFiles(f *testing.F) {
	f.Add([]byte("NAME=\"Debian GNU/Linux\"\nVERSION_ID='12'\n"))
	f.Add([]byte("processor: 0\nmodel name\t: CPU\n"))
	f.Add([]byte("MemTotal:  123 kB\nbtime 1700000000\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		name, version := osRelease(data)
		require.LessOrEqual(t, len(name)+len(version), 2*len(data))
		_ = cpuModel(data)
		require.GreaterOrEqual(t, memoryTotal(data), int64(0))
		_ = bootTime(data)
	})
}
