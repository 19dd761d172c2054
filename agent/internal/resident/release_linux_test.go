package resident

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const smaps = `00400000-0084b000 r-xp 00000000 fe:00 10252242                           /usr/bin/muster-agent
Size:               4396 kB
Anonymous:             0 kB
0084b000-00cce000 r--p 0044b000 fe:00 10252242                           /usr/bin/muster-agent
Anonymous:             8 kB
00cce000-00d4e000 rw-p 008ce000 fe:00 10252242                           /usr/bin/muster-agent
Anonymous:             0 kB
00d4e000-02d98000 r--p 00000000 00:00 0
Anonymous:             0 kB
02d98000-02d99000 r--s 00000000 fe:00 10252243                           /var/shared
Anonymous:             0 kB
02d99000-02d9a000 r--p 00000000 fe:00 10252244                           /usr/share/locale
Anonymous:             0 kB
VmFlags: rd ex mr mw me
`

func TestFilePages_onlyWhatCanBeReadAgain(t *testing.T) {
	t.Parallel()
	require.Equal(t, []mapping{{0x400000, 0x84b000}, {0x2d99000, 0x2d9a000}}, filePages(strings.NewReader(smaps)))
}

// TestRelease_goesOnRunning: the program that gives its own pages back needs some of them to return.
func TestRelease_goesOnRunning(t *testing.T) {
	t.Parallel()
	file, err := os.Open("/proc/self/smaps")
	require.NoError(t, err)
	defer file.Close()
	require.NotEmpty(t, filePages(file))
	release()
}

func FuzzFilePages(f *testing.F) {
	f.Add(smaps)
	f.Add("1-0 r--p 0 0 0 /x\nAnonymous: 0 kB\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range filePages(strings.NewReader(text)) {
			require.Greater(t, m.to, m.from)
			require.Contains(t, text, "r-")
		}
	})
}
