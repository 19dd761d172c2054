package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/unabletest"
)

// TestPackages: the agent's Debian package on a clean Debian root, from its installation with an enrollment
// string to the last file.
func TestPackages(t *testing.T) {
	t.Parallel()
	c := newChroot(t)
	old, fresh := c.pack(t, "v0.1.0-dev+1", "agent.deb"), c.pack(t, "v0.1.0", "agent")
	s := startServer(t, "")
	enrollment := s.enrollment(t)
	e, err := protocol.ParseEnrollment(enrollment)
	require.NoError(t, err)
	before := c.look(t)

	// Installation. No systemd runs in a chroot, so the agent is started as the package says.
	out := c.apt(t, []string{"MUSTER_ENROLLMENT=" + enrollment}, "install", old)
	require.Contains(t, out, "start the agent with: muster-agent run")
	require.NotContains(t, out, e.Token)
	require.Equal(t, "0.1.0~dev+1", c.version(t))
	for path, mode := range map[string]fs.FileMode{"var/lib/muster-agent": fs.ModeDir | 0o700, "var/lib/muster-agent/enrollment": 0o600} {
		info, err := os.Stat(filepath.Join(c.root, path))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode(), path)
	}
	c.configure(t)
	running := c.start(t)
	d := s.awaitAnyConnected(t)
	s.awaitSoftware(t, d.ID, "muster-agent", "0.1.0~dev+1")
	require.NoFileExists(t, filepath.Join(c.data(), "enrollment"), "a string that was used is forgotten")
	require.NotContains(t, running.output(), e.Token)

	// An upgrade keeps the identity, and what runs.
	c.apt(t, nil, "install", fresh)
	require.Equal(t, "0.1.0", c.version(t))
	require.True(t, running.running())
	running.stop(t)
	running = c.start(t)
	s.awaitConnected(t, d.ID)
	s.call(t, "POST", "/devices/"+d.ID+"/inventory", map[string]any{}, nil)
	s.awaitSoftware(t, d.ID, "muster-agent", "0.1.0")

	// Without its program the agent does not run on; its data stays for the next installation.
	c.apt(t, nil, "remove", "muster-agent")
	await(t, "the agent's end", func() (bool, string) { return !running.running(), running.output() })
	require.NoError(t, running.err, "it was asked to end")
	require.NoFileExists(t, filepath.Join(c.root, "usr/bin/muster-agent"))
	require.DirExists(t, filepath.Join(c.data(), "servers"))
	c.apt(t, nil, "install", fresh)
	c.run(t, nil, "muster-agent", "once")
	require.Len(t, s.devices(t), 1, "it is the same device")

	c.apt(t, nil, "purge", "muster-agent")
	require.Equal(t, before, c.look(t), "nothing stays after a purge")
	require.Empty(t, c.processes(t))

	t.Run("removal during a deployment", func(t *testing.T) { removalOfThePackage(t, c, s, fresh, before) })
	t.Run("uninstall on the device", func(t *testing.T) { uninstallOfThePackage(t, c, s, fresh, before) })
	t.Run("server", func(t *testing.T) { serverPackage(t, c, before) })
	t.Run("rpm", func(t *testing.T) { rpmPackage(t, c) })
}

// removalOfThePackage: the string comes by a file this time, and the agent goes by the server's word while a
// command runs.
func removalOfThePackage(t *testing.T, c *chroot, s *server, deb string, before []string) {
	known := len(s.devices(t))
	given := filepath.Join(c.root, "etc/muster-agent/enrollment")
	require.NoError(t, os.MkdirAll(filepath.Dir(given), 0o755))
	require.NoError(t, os.WriteFile(given, []byte(s.enrollment(t)), 0o600))
	c.apt(t, nil, "install", deb)
	require.NoFileExists(t, given)
	c.configure(t)
	running := c.start(t)
	d := s.awaitAnyConnected(t)
	require.Len(t, s.devices(t), known+1)
	own := credential(t, c.data())
	require.Equal(t, http.StatusOK, s.asDevice(t, own))

	begun, gate := filepath.Join(c.root, "root/begun"), filepath.Join(c.root, "root/gate")
	id, _ := s.assign(t, s.offer(t, spec{Name: "long", Priority: 5, Action: "execute", Command: []string{
		"/bin/sh", "-c", "touch /root/begun; " + untilFile("/root/gate") + "; echo done",
	}}), d.ID)
	awaitFile(t, begun)
	var asked struct {
		ID string `json:"id"`
	}
	s.call(t, "POST", "/devices/"+d.ID+"/remove", nil, &asked)
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	await(t, "the agent's end", func() (bool, string) { return !running.running(), running.output() })
	require.Equal(t, 10, running.cmd.ProcessState.ExitCode(), "systemd is not to start it again")

	s.awaitDevice(t, d.ID, "removed")
	require.Equal(t, "succeeded", s.deployment(t, id).State, "the command was not cut off: %s", s.deployment(t, id).story())
	var task struct {
		State string `json:"state"`
	}
	s.call(t, "GET", "/tasks/"+asked.ID, nil, &task)
	require.Equal(t, "succeeded", task.State)
	require.Equal(t, http.StatusUnauthorized, s.asDevice(t, own), "the old credential is dead")
	for _, made := range []string{begun, gate} {
		require.NoError(t, os.Remove(made))
	}
	c.awaitNothing(t, before)
}

func uninstallOfThePackage(t *testing.T, c *chroot, s *server, deb string, before []string) {
	c.apt(t, []string{"MUSTER_ENROLLMENT=" + s.enrollment(t)}, "install", deb)
	c.configure(t)
	running := c.start(t)
	d := s.awaitAnyConnected(t)
	r := c.try(t, nil, "muster-agent", "uninstall")
	require.Equal(t, 1, r.code, r.stdout+r.stderr)
	require.Contains(t, r.stderr, "stop it first", "nothing manages the agent here")
	c.run(t, nil, "muster-agent", "service", "stop")
	require.False(t, running.running())
	require.Contains(t, c.run(t, nil, "muster-agent", "uninstall"), "was removed from this computer")
	s.awaitDevice(t, d.ID, "removed")
	c.awaitNothing(t, before)
}

// serverPackage: the server runs as a user of its own, with the settings that the package brings.
func serverPackage(t *testing.T, c *chroot, before []string) {
	c.apt(t, nil, "install", c.pack(t, "v0.1.0", "server.deb"))
	port, plain := freePort(t), freePort(t)
	p := startCommand(t, c.command(nil, "setpriv", "--reuid", "muster", "--regid", "muster", "--clear-groups",
		"muster-server", "serve", "--config", "/etc/muster-server/config.yaml", "--listen", "127.0.0.1:"+port, "--http", "127.0.0.1:"+plain,
		"--admin-password-file", "/var/lib/muster-server/first-password"))
	await(t, "the server's readiness", func() (bool, string) {
		require.True(t, p.running(), p.output())
		res, err := http.Get("http://127.0.0.1:" + plain + "/readyz")
		if err != nil {
			return false, err.Error()
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK, res.Status
	})
	for path, mode := range map[string]fs.FileMode{
		"var/lib/muster-server": fs.ModeDir | 0o700, "var/lib/muster-server/first-password": 0o600, "etc/muster-server/config.yaml": 0o640,
	} {
		info, err := os.Stat(filepath.Join(c.root, path))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode(), path)
	}
	require.Contains(t, c.run(t, nil, "muster", "--help"), "muster")
	p.stop(t)
	c.apt(t, nil, "remove", "muster-server")
	require.FileExists(t, filepath.Join(c.root, "var/lib/muster-server/muster.db"))
	c.apt(t, nil, "purge", "muster-server")
	c.awaitNothing(t, before)
}

// rpmPackage: the same files and scripts by the other package manager.
func rpmPackage(t *testing.T, c *chroot) {
	if find("rpm") == "" {
		unabletest.Skip(t, "rpm is not here, it reads the package")
	}
	found, err := filepath.Glob(filepath.Join(c.packages, "muster-agent-0.1.0-1.*.rpm"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	list := succeed(t, nil, find("rpm"), "-qlp", found[0])
	for _, file := range []string{"/usr/bin/muster-agent", "/usr/lib/systemd/system/muster-agent.service", "/usr/share/doc/muster-agent/copyright"} {
		require.Contains(t, strings.Split(list, "\n"), file)
	}
	rpm := func(args ...string) {
		t.Helper()
		succeed(t, []string{"MUSTER_ENROLLMENT=MUSTER1-secret"}, find("rpm"), append([]string{"--root", c.root, "--nodeps"}, args...)...)
	}
	rpm("-i", found[0])
	pending, err := os.ReadFile(filepath.Join(c.data(), "enrollment"))
	require.NoError(t, err)
	require.Equal(t, "MUSTER1-secret\n", string(pending))
	rpm("-e", "muster-agent")
	require.NoFileExists(t, filepath.Join(c.root, "usr/bin/muster-agent"))
	require.DirExists(t, c.data(), "rpm knows no purge")
}

// TestRemoval: an agent that came without a package takes its data with it, and not its program.
func TestRemoval(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, database string) {
		s := startServer(t, database)
		a := startAgent(t, s)
		own := credential(t, a.data)
		s.call(t, "POST", "/devices/"+a.device+"/remove", nil, nil)
		await(t, "the agent's end", func() (bool, string) { return !a.running(), a.output() })
		require.Equal(t, 10, a.cmd.ProcessState.ExitCode())
		s.awaitDevice(t, a.device, "removed")
		require.Equal(t, http.StatusUnauthorized, s.asDevice(t, own))
		await(t, "the end of all files", func() (bool, string) {
			_, err := os.Stat(a.data)
			left, _ := filepath.Glob(filepath.Join(a.data, "*"))
			return os.IsNotExist(err), strings.Join(left, " ")
		})
		require.FileExists(t, program("muster-agent"))
	})
}

// awaitAnyConnected waits until a device has its wakeup channel.
func (s *server) awaitAnyConnected(t *testing.T) device {
	t.Helper()
	var d device
	await(t, "a connected device", func() (bool, string) {
		all := s.devices(t)
		at := slices.IndexFunc(all, func(d device) bool { return d.Connected })
		if at >= 0 {
			d = all[at]
		}
		return at >= 0, fmt.Sprintf("%+v", all)
	})
	return d
}

// awaitSoftware waits until the device's inventory has a program in a version.
func (s *server) awaitSoftware(t *testing.T, id, name, version string) {
	t.Helper()
	await(t, name+" "+version+" in the inventory", func() (bool, string) {
		_, body := s.try(t, "GET", "/devices/"+id+"/software?q="+name, nil)
		var page struct {
			Items []struct {
				Name    string `json:"name"`
				Version string `json:"version"`
			} `json:"items"`
		}
		_ = json.Unmarshal(body, &page) // before the first inventory it is none
		for _, item := range page.Items {
			if item.Name == name && item.Version == version {
				return true, ""
			}
		}
		return false, tail(string(body), 2000)
	})
}

// credential is the bearer by which a device speaks to its server.
func credential(t *testing.T, data string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "servers", "*", "identity.json"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	b, err := os.ReadFile(files[0])
	require.NoError(t, err)
	var identity struct {
		DeviceID string `json:"device_id"`
		Secret   string `json:"secret"`
	}
	require.NoError(t, json.Unmarshal(b, &identity))
	return protocol.Credential(identity.DeviceID, identity.Secret)
}

// asDevice delivers no reports with a credential and returns the status of the answer.
func (s *server) asDevice(t *testing.T, credential string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+protocol.PathReports, strings.NewReader(`{"reports":[]}`))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+credential)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	return res.StatusCode
}

// chroot is a clean Debian in a folder.
type chroot struct {
	root     string
	packages string // folder of the built packages
}

func newChroot(t *testing.T) *chroot {
	t.Helper()
	if find("dpkg") == "" || find("unshare") == "" {
		unabletest.Skip(t, "dpkg and unshare are needed to install the package in a chroot")
	}
	return &chroot{root: debianRoot(t), packages: t.TempDir()}
}

// pack makes packages of the tested programs and returns the path of the .deb inside the chroot.
func (c *chroot) pack(t *testing.T, version, what string) string {
	t.Helper()
	making.Lock()
	out, err := exec.Command("make", "--no-print-directory", "-C", "../..", ".tools/nfpm").CombinedOutput()
	making.Unlock()
	require.NoError(t, err, string(out))
	arch := strings.TrimSpace(succeed(t, nil, find("dpkg"), "--print-architecture"))
	succeed(t, []string{"PACK_COMPRESSION=none"}, "../packaging/pack.sh", version, arch, programs, c.packages, what)
	program, _, _ := strings.Cut(what, ".")
	name := fmt.Sprintf("muster-%s_%s_%s.deb", program, strings.TrimSpace(succeed(t, nil, "../packaging/version.sh", version)), arch)
	data, err := os.ReadFile(filepath.Join(c.packages, name))
	require.NoError(t, err)
	inside := filepath.Join("/mnt", name)
	require.NoError(t, os.WriteFile(filepath.Join(c.root, inside), data, 0o644))
	return inside
}

// command is a command inside the chroot, with /proc in a mount namespace of its own, which goes with its last
// process.
func (c *chroot) command(env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(find("unshare"), append([]string{
		"--mount", "--propagation", "private", "sh", "-c",
		`mount -t proc proc "$0/proc" && root=$0 && exec chroot "$root" "$@"`, c.root,
	}, args...)...)
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}, env...)
	return cmd
}

func (c *chroot) try(t *testing.T, env []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := c.command(env, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func (c *chroot) run(t *testing.T, env []string, args ...string) string {
	t.Helper()
	r := c.try(t, env, args...)
	require.Zero(t, r.code, "%v\n%s%s", args, r.stdout, r.stderr)
	return r.stdout + r.stderr
}

func (c *chroot) apt(t *testing.T, env []string, args ...string) string {
	t.Helper()
	return c.run(t, env, append([]string{"apt-get", "-y", "-q"}, args...)...)
}

func (c *chroot) version(t *testing.T) string {
	t.Helper()
	return c.run(t, nil, "dpkg-query", "-W", "-f", "${Version}", "muster-agent")
}

func (c *chroot) data() string { return filepath.Join(c.root, "var/lib/muster-agent") }

// configure turns the agent's own listener off: many agents run on this computer.
func (c *chroot) configure(t *testing.T) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(c.data(), "agent.json"), []byte(`{"listener": {"enabled": false}}`), 0o600))
}

// start runs the installed agent.
func (c *chroot) start(t *testing.T) *process {
	t.Helper()
	return startCommand(t, c.command(nil, "muster-agent", "run"))
}

// notOurs are folders in which package managers keep what was, and nothing of a package.
var notOurs = []string{"proc", "var/cache/apt", "var/lib/apt", "var/log", "var/cache/debconf", "root", "mnt"}

// look lists every path, and the users, of the chroot.
func (c *chroot) look(t *testing.T) []string {
	t.Helper()
	var all []string
	require.NoError(t, filepath.WalkDir(c.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // it is going just now
			}
			return err
		}
		rel, err := filepath.Rel(c.root, path)
		if err != nil {
			return err
		}
		if slices.Contains(notOurs, rel) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(rel, "-") && !strings.HasSuffix(rel, "-old") { // users, and dpkg's database, before their last change
			all = append(all, rel)
		}
		return nil
	}))
	for _, file := range []string{"etc/passwd", "etc/group"} {
		text, err := os.ReadFile(filepath.Join(c.root, file))
		require.NoError(t, err)
		all = append(all, strings.Split(string(text), "\n")...)
	}
	return all
}

// processes lists what runs inside the chroot.
func (c *chroot) processes(t *testing.T) []string {
	t.Helper()
	roots, err := filepath.Glob("/proc/[0-9]*/root")
	require.NoError(t, err)
	var all []string
	for _, link := range roots {
		if to, err := os.Readlink(link); err == nil && to == c.root {
			name, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
			all = append(all, strings.ReplaceAll(string(name), "\x00", " "))
		}
	}
	return all
}

// awaitNothing waits until the chroot is as it was before: files, users, processes.
func (c *chroot) awaitNothing(t *testing.T, before []string) {
	t.Helper()
	await(t, "the end of every trace", func() (bool, string) {
		if running := c.processes(t); len(running) > 0 {
			return false, strings.Join(running, "\n")
		}
		now := c.look(t)
		more := slices.DeleteFunc(slices.Clone(now), func(path string) bool { return slices.Contains(before, path) })
		return slices.Equal(before, now), strings.Join(more, "\n")
	})
	require.Equal(t, before, c.look(t))
}
