package inventory

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// TestCollect_withoutRoot: what is for root is missing, and the problem says so; the rest is told.
func TestCollect_withoutRoot(t *testing.T) {
	t.Parallel()
	o := unpack(t, `
-- etc/passwd --
ann:x:1000:1000:Ann:/home/ann:/bin/sh
-- etc/group --
ann:x:1000:
sudo:x:27:ann
-- etc/shadow --
ann:!:1::::::
-- etc/sudoers --
ann ALL=(ALL) ALL
-- sys/firmware/dmi/tables/DMI | dmi --
1 manufacturer=Maker product=Thing serial=S1
127
-- sys/class/dmi/id/sys_vendor --
Maker
-- sys/class/dmi/id/product_name --
Thing
-- sys/class/dmi/id/product_serial --
S1
`)
	secret := map[string]bool{"shadow": true, "sudoers": true, "DMI": true, "product_serial": true}
	require.NoError(t, os.Chmod(filepath.Dir(o.Root), 0o755))
	require.NoError(t, filepath.WalkDir(o.Root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if secret[d.Name()] {
			return os.Chmod(path, 0)
		}
		return os.Chmod(path, 0o644)
	}))
	h := &host{Tree: sysread.Tree(o.Root), calls: o.calls}
	var (
		bios                         []protocol.BIOS
		memory                       []protocol.MemorySlot
		users                        []protocol.User
		biosErr, memoryErr, usersErr error
	)
	done := make(chan struct{})
	go func() { // on a thread of its own that is another user towards files, and ends with the goroutine
		defer close(done)
		runtime.LockOSThread()
		_ = unix.Setfsuid(65534)
		bios, biosErr = findBIOS(t.Context(), h)
		memory, memoryErr = findMemory(t.Context(), h)
		users, usersErr = findUsers(t.Context(), h)
	}()
	<-done
	require.EqualError(t, biosErr, "the firmware's table (SMBIOS) can be read by root only")
	require.Len(t, bios, 1)
	require.Equal(t, "Thing", bios[0].Product)
	require.Empty(t, bios[0].Serial)
	require.EqualError(t, memoryErr, "the firmware's table (SMBIOS) can be read by root only")
	require.Empty(t, memory)
	require.EqualError(t, usersErr, "whether accounts are locked can be read by root only")
	require.Len(t, users, 1)
	require.True(t, users[0].Admin, "by the group that usually may")
	require.False(t, users[0].Locked)
}
