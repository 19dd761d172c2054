package facts

import (
	"os"
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
	require.Equal(t, f, Read([]string{"deploy"}), "a computer that did not change says the same: only news are sent")
	require.Equal(t, root.Virtualisation(), f.Virtualisation)
	require.Equal(t, root.Product().Manufacturer, f.Manufacturer)
	require.True(t, f.BootedAt.Before(time.Now()))
	require.Equal(t, []string{}, Read(nil).TasksAllowed, "no task allowed is an empty list, not null")
}
