package sysread

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// tree writes files and returns their root.
func tree(t *testing.T, files map[string]string) Tree {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return Tree(root)
}

func TestRead_isBounded(t *testing.T) {
	t.Parallel()
	r := tree(t, map[string]string{"long": strings.Repeat("x", 10_000), "short": "first\nsecond\n", "none": ""})
	for _, limit := range []int{1, 255, 256, 257, 4095, 4096, 4097, 9_999, 10_000} {
		data, err := r.Read("long", limit)
		require.NoError(t, err)
		require.Len(t, data, limit)
	}
	data, err := r.Read("long", 1<<20)
	require.NoError(t, err)
	require.Len(t, data, 10_000)
	require.Equal(t, "first", r.Line("short"))
	require.Empty(t, r.Line("none"))
	require.Equal(t, "first", r.First("missing", "none", "short", "long"))
	_, err = r.Read("missing", 10)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.Mkdir(r.Path("folder"), 0o755))
	_, err = r.Read("folder", 10)
	require.Error(t, err)
}

func TestOSRelease(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		text string
		want OSRelease
	}{
		"debian":    {"PRETTY_NAME=\"Debian GNU/Linux 12\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n", OSRelease{"Debian GNU/Linux", "12", "debian"}},
		"arch":      {"NAME='Arch Linux'\nID=arch\n", OSRelease{"Arch Linux", "", "arch"}},
		"unquoted":  {"NAME=Fedora\nVERSION_ID=44", OSRelease{"Fedora", "44", ""}},
		"nothing":   {"", OSRelease{}},
		"no values": {"NAME\nVERSION_ID\n", OSRelease{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, ParseOSRelease([]byte(c.text)))
			require.Equal(t, c.want, tree(t, map[string]string{"usr/lib/os-release": c.text}).OSRelease())
		})
	}
}

func TestParsers(t *testing.T) {
	t.Parallel()
	require.Equal(t, "AMD EPYC 9", CPUModel([]byte("processor\t: 0\nmodel name\t: AMD EPYC 9\nprocessor : 1\nmodel name : other\n")))
	require.Equal(t, "Raspberry Pi 4", CPUModel([]byte("processor : 0\nModel : Raspberry Pi 4\n")))
	require.Empty(t, CPUModel([]byte("garbage")))
	require.Equal(t, int64(2048<<10), Memory([]byte("MemFree: 1 kB\nMemTotal:        2048 kB\n"), "MemTotal"))
	require.Zero(t, Memory([]byte("MemTotal: lots kB\n"), "MemTotal"))
	require.Zero(t, Memory([]byte("MemTotal: -5 kB\n"), "MemTotal"))
	require.Equal(t, int64(1700000000), parseBootTime([]byte("cpu 1 2\nbtime 1700000000\n")).Unix())
	require.True(t, parseBootTime([]byte("btime soon\n")).IsZero())
	long := "cpu 1 2\nintr" + strings.Repeat(" 0", 100_000) + "\nbtime 1700000000\n"
	require.Equal(t, time.Unix(1700000000, 0), tree(t, map[string]string{"proc/stat": long}).BootTime())
}

func TestClean_boundsAndRepairs(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a\uFFFDb", Clean(" a\xffb\n"))
	require.Equal(t, "a b c", Clean("a\tb\x00\x1b\u202e c"))
	long := Clean(strings.Repeat("é", 400))
	require.LessOrEqual(t, len(long), MaxText)
	require.Equal(t, strings.Repeat("é", len(long)/2), long)
	require.Empty(t, CleanTo("é", 1))
	for _, s := range []string{"To Be Filled By O.E.M.", "Default string", "0000000", " ", "........", "Not Specified", "FFFFFFFF"} {
		require.Empty(t, Meant(s), s)
	}
	require.Equal(t, "PF2XYZ01", Meant("PF2XYZ01   "))
	require.Equal(t, "4c4c4544-0042-3510-8053-b4c04f565232", UUID("4C4C4544-0042-3510-8053-B4C04F565232"))
	for _, s := range []string{"", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "03000200-0400-0500-0006-000700080009", "Not Settable"} {
		require.Empty(t, UUID(s), s)
	}
}

func TestVirtualisation(t *testing.T) {
	t.Parallel()
	const dmi = "sys/class/dmi/id/"
	flag := "flags : fpu hypervisor lm\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"physical":            {map[string]string{dmi + "sys_vendor": "LENOVO", dmi + "product_name": "20XW", "proc/cpuinfo": "flags : fpu lm\n"}, ""},
		"nothing is known":    {nil, ""},
		"kvm":                 {map[string]string{dmi + "sys_vendor": "QEMU", dmi + "product_name": "Standard PC (Q35 + ICH9, 2009)", "proc/cpuinfo": flag}, "kvm"},
		"emulated":            {map[string]string{dmi + "sys_vendor": "QEMU", dmi + "product_name": "Standard PC"}, "qemu"},
		"without firmware":    {map[string]string{"sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc kvm-clock", "proc/cpuinfo": flag}, "kvm"},
		"flag alone":          {map[string]string{"proc/cpuinfo": flag}, "vm"},
		"vmware":              {map[string]string{dmi + "sys_vendor": "VMware, Inc.", dmi + "product_name": "VMware Virtual Platform", "proc/cpuinfo": flag}, "vmware"},
		"virtualbox":          {map[string]string{dmi + "sys_vendor": "innotek GmbH", dmi + "product_name": "VirtualBox"}, "virtualbox"},
		"hyperv":              {map[string]string{dmi + "sys_vendor": "Microsoft Corporation", dmi + "product_name": "Virtual Machine"}, "hyperv"},
		"surface":             {map[string]string{dmi + "sys_vendor": "Microsoft Corporation", dmi + "product_name": "Surface Pro"}, ""},
		"amazon":              {map[string]string{dmi + "sys_vendor": "Amazon EC2", dmi + "product_name": "t3.micro"}, "amazon"},
		"amazon's metal":      {map[string]string{dmi + "sys_vendor": "Amazon EC2", dmi + "product_name": "m5.metal"}, ""},
		"xen guest":           {map[string]string{"sys/hypervisor/type": "xen\n"}, "xen"},
		"xen host":            {map[string]string{"sys/hypervisor/type": "xen\n", "proc/xen/capabilities": "control_d\n"}, ""},
		"docker in kvm":       {map[string]string{".dockerenv": "", dmi + "sys_vendor": "QEMU"}, "docker"},
		"podman":              {map[string]string{"run/.containerenv": ""}, "podman"},
		"lxc by environment":  {map[string]string{"proc/1/environ": "PATH=/bin\x00container=lxc\x00"}, "lxc"},
		"nspawn":              {map[string]string{"run/systemd/container": "systemd-nspawn"}, "systemd-nspawn"},
		"wsl":                 {map[string]string{"proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2\n"}, "wsl"},
		"kubernetes by group": {map[string]string{"proc/1/cgroup": "0::/kubepods/burstable/pod1\n"}, "docker"},
		"mainframe":           {map[string]string{"proc/sysinfo": "VM00 Control Program: KVM/Linux\n"}, "kvm"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, tree(t, c.files).Virtualisation())
		})
	}
}

func TestVirtualisation_aDiskThatWasAContainersImage(t *testing.T) {
	t.Parallel()
	r := tree(t, map[string]string{".dockerenv": "", "sys/class/dmi/id/sys_vendor": "Amazon EC2"})
	require.Equal(t, "docker", r.Virtualisation())
	require.NoError(t, os.MkdirAll(r.Path("proc/self/ns"), 0o755))
	require.NoError(t, os.Symlink("pid:[4026531836]", r.Path("proc/self/ns/pid")))
	require.NoError(t, os.Symlink("uts:[4026531838]", r.Path("proc/self/ns/uts")))
	require.Equal(t, "amazon", r.Virtualisation())
}

func FuzzSystemFiles(f *testing.F) {
	f.Add([]byte("NAME=\"Debian GNU/Linux\"\nVERSION_ID='12'\n"))
	f.Add([]byte("processor: 0\nmodel name\t: CPU\n"))
	f.Add([]byte("MemTotal:  123 kB\nbtime 1700000000\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := ParseOSRelease(data)
		for _, s := range []string{r.Name, r.Version, r.ID, CPUModel(data), Meant(string(data)), UUID(string(data))} {
			require.LessOrEqual(t, len(s), MaxText)
			require.True(t, utf8.ValidString(s))
			require.Equal(t, s, Clean(s), "cleaning twice changes nothing")
		}
		require.GreaterOrEqual(t, Memory(data, "MemTotal"), int64(0))
		_ = parseBootTime(data)
	})
}
