package e2e_test

import (
	"bytes"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// uninstallTask is a task as an administrator sees it.
type uninstallTask struct {
	ID      string     `json:"id"`
	State   string     `json:"state"`
	Reason  string     `json:"reason"`
	Message string     `json:"message"`
	NextTry *time.Time `json:"next_try"`
	Items   []struct {
		ID       string   `json:"id"`
		Status   string   `json:"status"`
		Message  string   `json:"message"`
		Others   []string `json:"others"`
		ExitCode *int     `json:"exit_code"`
		Output   string   `json:"output"`
	} `json:"items"`
}

// debian is a device whose agent lives in a Debian of its own.
type debian struct {
	*agent
	s    *server
	root string
}

// TestUninstall takes real packages from a real Debian, by the server's API, and looks for what is left in
// dpkg's own books and in the server's list.
func TestUninstall(t *testing.T) {
	t.Parallel()
	d := newDebian(t, startServer(t, ""))
	d.install(t, 0, tiny{name: "tiny-one"}, tiny{name: "tiny-two"}, tiny{name: "tiny-three"}, tiny{name: "tiny-later"}, tiny{name: "tiny-absent"},
		tiny{name: "tiny-stays", prerm: "echo this one does not go >&2; exit 1"},
		tiny{name: "tiny-library"}, tiny{name: "tiny-tool", depends: "tiny-library"}, tiny{name: "tiny-suite", depends: "tiny-tool"},
		tiny{name: "tiny-wanted-here"},
		tiny{name: "tiny-slow", prerm: "echo began >>/tmp/began; " + untilFile("/tmp/go-on")})
	d.install(t, 1, tiny{name: "tiny-broken", postinst: "exit 1"})
	require.Equal(t, "ok half-configured", d.dpkg(t, "tiny-broken"))

	d.start(t)
	d.awaitSoftware(t, []string{"tiny-one", "tiny-broken", "our-agent", "base-files", "tiny-later"}, nil)
	found := d.s.savedSearch(t, "who has it", map[string]any{"software": "tiny-one"})
	d.s.awaitMembers(t, found, 1)
	d.chroot(t, 0, "dpkg", "--purge", "tiny-absent") // behind the server's back

	task := d.uninstall(t, false, "tiny-one", "tiny-stays", "tiny-two", "tiny-library", "tiny-absent", "tiny-broken", "base-files", "tiny-wanted-here", "our-agent")
	require.Equal(t, "failed/items", task.State+"/"+task.Reason, task.Message)
	require.Equal(t, "3 of 9 programs removed, 1 not installed, 1 failed, 1 needed by others, 3 protected", task.Message)
	require.Equal(t, []string{"removed", "failed", "removed", "needed", "not_installed", "removed", "protected", "protected", "protected"}, task.statuses())
	stays := task.Items[1]
	require.Equal(t, 1, *stays.ExitCode)
	require.Contains(t, stays.Output, "this one does not go")
	require.Equal(t, []string{"tiny-suite", "tiny-tool"}, task.Items[3].Others)
	for name, status := range map[string]string{
		"tiny-one": "", "tiny-two": "", "tiny-broken": "", "tiny-absent": "", "tiny-stays": "ok installed", "tiny-library": "ok installed",
		"tiny-tool": "ok installed", "base-files": "ok installed", "tiny-wanted-here": "ok installed", "our-agent": "ok installed",
	} {
		require.Equal(t, status, d.dpkg(t, name), name)
	}
	d.awaitSoftware(t, []string{"tiny-stays", "tiny-library", "our-agent"}, []string{"tiny-one", "tiny-two", "tiny-absent", "tiny-broken"})
	d.s.awaitMembers(t, found, 0)

	task = d.uninstall(t, true, "tiny-stays", "tiny-three")
	require.Equal(t, []string{"failed", "skipped"}, task.statuses())
	task = d.uninstall(t, true, "tiny-library", "tiny-tool", "tiny-suite", "tiny-three")
	require.Equal(t, []string{"removed", "removed", "removed", "removed"}, task.statuses(), "those that need it go first")
	require.Equal(t, "succeeded/done", task.State+"/"+task.Reason)

	// The agent is killed while dpkg works: dpkg goes on, and the next agent waits for it.
	id := d.ask(t, false, "tiny-slow")
	began := filepath.Join(d.root, "tmp/began")
	await(t, "dpkg at work", func() (bool, string) { _, err := os.Stat(began); return err == nil, "" })
	d.kill()
	require.NoError(t, os.WriteFile(filepath.Join(d.root, "tmp/go-on"), nil, 0o600))
	d.start(t)
	require.Equal(t, []string{"removed"}, d.awaitTask(t, id, "succeeded").statuses())
	account, err := os.ReadFile(began)
	require.NoError(t, err)
	require.Equal(t, "began\n", string(account), "it was removed once")

	free := d.lockDpkg(t)
	id = d.ask(t, false, "tiny-later")
	task = d.awaitTask(t, id, "waiting")
	require.Equal(t, "busy", task.Reason)
	require.Contains(t, task.Message, "holds /var/lib/dpkg/lock-frontend")
	require.NotNil(t, task.NextTry)
	require.Equal(t, "ok installed", d.dpkg(t, "tiny-later"))
	free()
	task = d.awaitTask(t, id, "succeeded")
	require.Equal(t, []string{"removed"}, task.statuses())
	d.awaitSoftware(t, []string{"tiny-stays"}, []string{"tiny-later", "tiny-library", "tiny-tool", "tiny-suite", "tiny-three"})
}

func (task uninstallTask) statuses() []string {
	var out []string
	for _, item := range task.Items {
		out = append(out, item.Status)
	}
	return out
}

// newDebian makes a Debian with an enrolled agent, from a package of another name, that does not run yet.
func newDebian(t *testing.T, s *server) *debian {
	t.Helper()
	d := &debian{s: s, root: debianRoot(t), agent: &agent{}}
	d.data = filepath.Join(d.root, "var/lib/muster-agent")
	own, err := os.ReadFile(program("muster-agent"))
	require.NoError(t, err)
	d.install(t, 0, tiny{name: "our-agent", file: own})
	out := d.chroot(t, 0, "muster-agent", "enroll", "--data", "/var/lib/muster-agent", s.enrollment(t))
	_, rest, _ := strings.Cut(out, " as device ")
	d.device, _, _ = strings.Cut(rest, " ")
	require.NotEmpty(t, d.device, out)
	d.configure(t, map[string]any{"uninstall": map[string]any{"protected": []string{"*-wanted-here"}}, "listener": map[string]any{"enabled": false}})
	return d
}

// start starts the agent in its Debian, with a /proc that goes with it.
func (d *debian) start(t *testing.T) {
	t.Helper()
	const script = `mount -t proc proc "$1/proc" && exec chroot "$1" /usr/bin/muster-agent run --data /var/lib/muster-agent`
	d.process = startCommand(t, exec.Command("unshare", "--mount", "sh", "-c", script, "sh", d.root))
	d.s.awaitConnected(t, d.device)
}

// tiny is a Debian package of next to nothing.
type tiny struct {
	name, depends, prerm, postinst string
	file                           []byte // /usr/bin/muster-agent
}

// install builds packages and installs them all at once.
func (d *debian) install(t *testing.T, code int, packages ...tiny) {
	t.Helper()
	args := []string{"dpkg", "--install"}
	for _, p := range packages {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, 0o755))
		write := func(name, text string, mode os.FileMode) {
			path := filepath.Join(dir, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(text), mode))
		}
		control := "Package: " + p.name + "\nVersion: 1.0+x~1\nArchitecture: all\nMaintainer: Nobody <nobody@example.com>\nDescription: tiny\n"
		if p.depends != "" {
			control += "Depends: " + p.depends + "\n"
		}
		write("DEBIAN/control", control, 0o644)
		for name, script := range map[string]string{"prerm": p.prerm, "postinst": p.postinst} {
			if script != "" {
				write("DEBIAN/"+name, "#!/bin/sh\n"+script+"\n", 0o755)
			}
		}
		if p.file != nil {
			write("usr/bin/muster-agent", string(p.file), 0o755)
		}
		deb := "/tmp/" + p.name + ".deb"
		out, err := exec.Command("dpkg-deb", "--root-owner-group", "-Znone", "--build", dir, d.root+deb).CombinedOutput()
		require.NoError(t, err, string(out))
		args = append(args, deb)
	}
	d.chroot(t, code, args...)
}

// chroot runs a command in the Debian.
func (d *debian) chroot(t *testing.T, code int, args ...string) string {
	t.Helper()
	cmd := exec.Command("chroot", append([]string{d.root}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	require.Equal(t, code, cmd.ProcessState.ExitCode(), "%v\n%s", args, &out)
	return out.String()
}

// dpkg is the condition of a package in dpkg's own words; empty for one that it does not know, or of which
// nothing but its settings is left.
func (d *debian) dpkg(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("chroot", d.root, "dpkg-query", "-W", "-f", "${Status}", name).Output()
	if err != nil || strings.HasSuffix(string(out), " config-files") {
		return ""
	}
	_, condition, _ := strings.Cut(string(out), " ") // before it: what is wanted
	return condition
}

// lockDpkg takes the lock that package managers take, as one of them does.
func (d *debian) lockDpkg(t *testing.T) (free func()) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(d.root, "var/lib/dpkg/lock-frontend"), os.O_RDWR|os.O_CREATE, 0o640)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	require.NoError(t, syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &lock))
	return func() { require.NoError(t, file.Close()) }
}

// software are the keys of what the server lists for the device, by name.
func (d *debian) software(t *testing.T) map[string]string {
	t.Helper()
	keys := map[string]string{}
	for cursor := ""; ; {
		var page struct {
			Items []struct{ Key, Name string } `json:"items"`
			Next  string                       `json:"next"`
		}
		d.s.call(t, "GET", "/devices/"+d.device+"/software?limit=200&cursor="+url.QueryEscape(cursor), nil, &page)
		for _, item := range page.Items {
			keys[item.Name] = item.Key
		}
		if cursor = page.Next; cursor == "" {
			return keys
		}
	}
}

// awaitSoftware waits until the server's list has the one and not the other.
func (d *debian) awaitSoftware(t *testing.T, has, hasNot []string) {
	t.Helper()
	await(t, "the server's list of software", func() (bool, string) {
		keys := d.software(t)
		missing := slices.ContainsFunc(has, func(name string) bool { return keys[name] == "" })
		left := slices.ContainsFunc(hasNot, func(name string) bool { return keys[name] != "" })
		var names []string
		for name := range keys {
			if strings.HasPrefix(name, "tiny-") {
				names = append(names, name)
			}
		}
		return !missing && !left, strings.Join(names, " ")
	})
}

// ask asks for programs to be uninstalled, by the keys that the server lists, and returns the task's id.
func (d *debian) ask(t *testing.T, stop bool, names ...string) string {
	t.Helper()
	keys, known := []string{}, d.software(t)
	for _, name := range names {
		require.Contains(t, known, name)
		keys = append(keys, known[name])
	}
	var made struct{ Tasks []uninstallTask }
	d.s.call(t, "POST", "/uninstalls", map[string]any{"device_ids": []string{d.device}, "software": keys, "stop_at_failure": stop}, &made)
	require.Len(t, made.Tasks, 1)
	return made.Tasks[0].ID
}

func (d *debian) awaitTask(t *testing.T, id, state string) (task uninstallTask) {
	t.Helper()
	await(t, "the task to be "+state, func() (bool, string) {
		d.s.call(t, "GET", "/tasks/"+id, nil, &task)
		return task.State == state, task.State + ": " + task.Message
	})
	return task
}

// uninstall asks and waits for the end.
func (d *debian) uninstall(t *testing.T, stop bool, names ...string) (task uninstallTask) {
	t.Helper()
	id := d.ask(t, stop, names...)
	await(t, "the end of uninstalling", func() (bool, string) {
		d.s.call(t, "GET", "/tasks/"+id, nil, &task)
		return task.State == "succeeded" || task.State == "failed" || task.State == "refused", task.State + ": " + task.Message
	})
	return task
}
