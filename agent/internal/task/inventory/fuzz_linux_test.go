package inventory

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/agent/internal/sysread"
	"github.com/muster/muster/packages/protocol"
)

// tidy asserts that rows, whatever they were made of, become lines that a server takes.
func tidy[T any](t *testing.T, found []T) {
	t.Helper()
	l := encode(found)
	require.True(t, utf8.Valid(l.data))
	require.NotContains(t, string(l.data), "\x1b")
	valid(t, []Section{{Name: "fuzzed", Lines: l.data, Rows: l.rows, SHA256: l.digest()}})
}

func FuzzDMI(f *testing.F) {
	seed := func(text string) []byte { return buildDMI(&testing.T{}, text) }
	f.Add(seed("0 vendor=Maker version=1 date=01/02/2024\n1 manufacturer=M product=P uuid=4c4c4544-0058-4b10-8032-b7c04f505a33\n127"), []byte("_SM_\x00\x1f\x02\x04"))
	f.Add(seed("4 type=3 version=CPU mhz=2000 status=0x41 cores=0xff cores2=300\n16 handle=1 use=3\n17 array=1 locator=A size=0x7fff size2=65536 type=0x22 running=0xffff running2=8000 manufacturer=80AD\n127"), []byte("_SM3_\x00\x18\x03\x03"))
	f.Add([]byte{17, 4, 0, 0, 0}, []byte(nil))
	f.Fuzz(func(t *testing.T, table, entry []byte) {
		d, _ := parseDMI(table, entry)
		require.LessOrEqual(t, len(d.structures), maxDMIStructures)
		tidy(t, []protocol.BIOS{d.bios()})
		memory := d.memory()
		for _, m := range memory {
			require.GreaterOrEqual(t, m.Bytes, int64(0))
		}
		tidy(t, memory)
		tidy(t, d.processors())
		_, _ = parseRawDMI(table)
	})
}

func FuzzEDID(f *testing.F) {
	good := buildEDID(&testing.T{}, `edid maker=DEL product=0xd0a1 number=7 serial=5TXYZ13 name="DELL U2720Q" year=2021 width=597 height=336 resolution=3840x2160`)
	f.Add(good)
	f.Add(good[:100])
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= 128 { // most would fail by their sum
			var sum byte
			for _, b := range data[:127] {
				sum += b
			}
			data[127] = -sum
		}
		if e, err := parseEDID(data); err == nil {
			tidy(t, []protocol.Monitor{e.monitor})
		}
	})
}

func FuzzIDs(f *testing.F) {
	f.Add([]byte("8086  Intel Corporation\n\t9a14  Host Bridge\n\t\t8086 1234  x\nC 02  Network\n\t00  Ethernet\n"))
	f.Add([]byte("\t9a14  lost\r\nC 0\n8086\n8086  \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		wanted, again := newWantedIDs(), newWantedIDs()
		wanted.add("8086", "9a14", "020000")
		again.add("8086", "9a14", "020000")
		require.NoError(t, readIDs(bytes.NewReader(data), wanted))
		require.NoError(t, readIDs(iotest.OneByteReader(bytes.NewReader(data)), again))
		require.Equal(t, wanted, again, "how the bytes come does not matter")
		require.Len(t, wanted.names, 4)
		_ = wanted.class("020000") + wanted.vendor("8086") + wanted.product("8086", "9a14")
	})
}

func FuzzAccounts(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/sh\nann:!:1000:1000:Ann,,,:/home/ann:/bin/sh\n"), []byte("root:x:0:\nsudo:x:27:ann,bob\n"), []byte("%sudo ALL=(ALL:ALL) NOPASSWD: ALL\nUID_MIN 500\n"))
	f.Fuzz(func(t *testing.T, passwd, group, sudoers []byte) {
		accounts := parsePasswd(passwd)
		require.LessOrEqual(t, len(accounts), maxUsers)
		for _, a := range accounts {
			require.NotEmpty(t, a.name)
			require.GreaterOrEqual(t, a.uid, int64(0))
		}
		_, members := parseGroup(group)
		require.LessOrEqual(t, len(members), maxMemberships)
		parseSudoers(sudoers, map[string]bool{})
		require.Positive(t, firstUID(sudoers))
	})
}

func FuzzMountInfo(f *testing.F) {
	f.Add([]byte("22 27 0:21 / /proc rw - proc proc rw\n27 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n28 1 0:5 / /mnt/a\\040b rw - nfs4 s:/x rw\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		mounts := parseMountInfo(data)
		require.LessOrEqual(t, len(mounts), maxMounts)
		kept := withoutSecondViews(mounts)
		require.LessOrEqual(t, len(kept), len(mounts))
		for _, m := range kept {
			_ = m.shown()
			_ = unescapeUdev(m.source)
			var fs protocol.Filesystem
			setSpace(&fs, int64(len(m.at)), int64(len(m.source)))
			require.LessOrEqual(t, fs.FreeBytes, fs.Bytes)
		}
	})
}

func FuzzLogins(f *testing.F) {
	f.Add(buildUtmp(&testing.T{}, "7 pid=812 terminal=pts/0 user=ann host=192.0.2.7 address=192.0.2.7 time=1719400000\n"))
	f.Add([]byte("USER=ann\nTTY=tty2\nREALTIME=1719400000000000\nCLASS=user\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var found []protocol.LoginSession
		for _, l := range parseUtmp(data) {
			require.Positive(t, l.pid)
			found = append(found, l.session)
		}
		if s, ok := parseSession("1", data); ok {
			found = append(found, s)
		}
		tidy(t, found)
	})
}

// FuzzKernelFiles are texts of the kernel. They are seldom hostile; a container may have its own.
func FuzzKernelFiles(f *testing.F) {
	f.Add([]byte("processor : 0\nphysical id : 0\ncore id : 0\ncpu MHz : 2300.0\nmodel name : A @ 2.30GHz\n"))
	f.Add([]byte("eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\n"))
	f.Add([]byte("20010db8000100001234567890abcdef 02 40 00 01 eth0\n" + strings.Repeat("0", 32) + " 00 x 00 fe800000000000000000000000000001 1 2 3 4 eth0\n"))
	f.Add([]byte("8 (a) b) R 1 8 8 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 50 100 3 0\nUid:\t0\t0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree := t.TempDir()
		h := &host{Tree: sysread.Tree(tree), calls: &calls{}}
		for i, one := range parseCPUInfo(data) {
			if i < 4 {
				h.place(&one)
				require.GreaterOrEqual(t, h.speed(one), 0)
				_ = one.name() + one.maker()
			}
		}
		temporaryAddresses(data)
		gateways4(data)
		gateways6(data)
		if p, _, ok := parseStat(data, 4096); ok {
			tidy(t, []protocol.Process{p})
		}
		_ = statusUID(data)
	})
}

// FuzzFiles puts the same bytes into every file that is read one value a file.
func FuzzFiles(f *testing.F) {
	f.Add([]byte("12345\n"))
	f.Add([]byte("0x8086\n"))
	f.Add([]byte("7 (a) R 1 8 8 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 50 100 3 0\n"))
	f.Add([]byte("E:ID_SERIAL_SHORT=\\x20a\nDEVTYPE=wlan\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		root := t.TempDir()
		h := &host{Tree: sysread.Tree(root), calls: &calls{addresses: func() (map[string][]netip.Prefix, error) { return nil, nil }}}
		for _, folder := range []string{"sys/block/sda", "sys/block/sda/device", "sys/class/net/eth0", "sys/class/power_supply/BAT0", "run/udev/data", "sys/bus/pci/devices/0", "sys/bus/usb/devices/1-1", "proc/7"} {
			require.NoError(t, os.MkdirAll(h.Path(folder), 0o755))
		}
		for _, file := range []string{
			"sys/block/sda/size", "sys/block/sda/dev", "sys/block/sda/device/model", "sys/block/sda/device/vpd_pg80", "sys/class/net/eth0/ifindex", "sys/class/net/eth0/mtu", "sys/class/net/eth0/flags",
			"sys/class/net/eth0/uevent", "sys/class/power_supply/BAT0/energy_full", "sys/class/power_supply/BAT0/energy_full_design", "run/udev/data/b8:0", "sys/bus/pci/devices/0/vendor",
			"sys/bus/pci/devices/0/device", "sys/bus/pci/devices/0/class", "sys/bus/usb/devices/1-1/idVendor", "sys/bus/usb/devices/1-1/idProduct", "sys/bus/usb/devices/1-1/product", "proc/7/stat", "proc/7/status", "proc/7/cmdline",
		} {
			require.NoError(t, os.WriteFile(h.Path(file), data, 0o600))
		}
		require.NoError(t, os.WriteFile(h.Path("sys/class/power_supply/BAT0/type"), []byte("Battery"), 0o600))
		disks, err := findDisks(context.Background(), h)
		require.NoError(t, err)
		tidy(t, disks)
		h.udev("8:0")
		interfaces, err := findInterfaces(context.Background(), h)
		require.NoError(t, err)
		tidy(t, interfaces)
		batteries, err := findBatteries(context.Background(), h)
		require.NoError(t, err)
		tidy(t, batteries)
		controllers, err := findControllers(context.Background(), h)
		require.NoError(t, err)
		tidy(t, controllers)
		processes, err := findProcesses(context.Background(), h)
		require.NoError(t, err)
		tidy(t, processes)
	})
}
