//go:build unix

// Package point marks the places of the programs at which a crash must lose nothing.
//
// The programs as they ship know nothing of it: only a build with the overlay of scripts/chaos/overlay
// calls it. Even then a point does nothing unless MUSTER_CHAOS names a folder that Prepare has made. There
// a point counts that it was reached, and if a test has armed it, the process that comes first takes the
// arming back and kills itself: SIGKILL, nothing is flushed, closed or told to anyone.
package point

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/muster/muster/scripts/chaos/recordos"
)

// Env names the environment variable that holds the folder of one server or one agent.
const Env = "MUSTER_CHAOS"

// Names in the folder.
const (
	armedDir  = "armed"   // a file for each armed point
	hitsDir   = "hits"    // a file for each point that was reached, one byte for each time
	killsFile = "kills"   // a line for each kill
	bootFile  = "boot_id" // of the computer that this agent believes to be on
)

// Prepare makes the folder.
func Prepare(dir string) error {
	return errors.Join(os.MkdirAll(filepath.Join(dir, armedDir), 0o700), os.MkdirAll(filepath.Join(dir, hitsDir), 0o700))
}

// Arm makes the next process that reaches the point kill itself.
func Arm(dir, name string) error {
	return os.WriteFile(filepath.Join(dir, armedDir, name), nil, 0o600)
}

// Disarm takes back what is armed and was not reached.
func Disarm(dir string) error {
	for _, name := range Armed(dir) {
		if err := os.Remove(filepath.Join(dir, armedDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Armed lists the points that are armed.
func Armed(dir string) []string {
	entries, _ := os.ReadDir(filepath.Join(dir, armedDir))
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// Hits tells how often each point was reached.
func Hits(dir string) map[string]int64 {
	hits := map[string]int64{}
	entries, _ := os.ReadDir(filepath.Join(dir, hitsDir))
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			hits[e.Name()] = info.Size()
		}
	}
	return hits
}

// Kills lists the points at which a process killed itself, in order.
func Kills(dir string) []string {
	file, err := os.Open(filepath.Join(dir, killsFile))
	if err != nil {
		return nil
	}
	defer file.Close()
	var kills []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		kills = append(kills, lines.Text())
	}
	return kills
}

// SetBoot makes the agent of this folder believe that the computer was started anew.
func SetBoot(dir, id string) error {
	return os.WriteFile(filepath.Join(dir, bootFile), []byte(id), 0o600)
}

// BootID is the boot id that SetBoot has set, or else the real one.
func BootID(truth string) string {
	if dir := os.Getenv(Env); dir != "" {
		if id, err := os.ReadFile(filepath.Join(dir, bootFile)); err == nil {
			return string(id)
		}
	}
	return truth
}

// Environ is what children need in their environment to belong to the same folder.
func Environ() []string {
	if dir := os.Getenv(Env); dir != "" {
		return []string{Env + "=" + dir}
	}
	return nil
}

// Hit is the point.
func Hit(name string) {
	dir := os.Getenv(Env)
	if dir == "" {
		return
	}
	appendTo(filepath.Join(dir, hitsDir, name), ".")
	if os.Remove(filepath.Join(dir, armedDir, name)) != nil {
		return
	}
	// No other goroutine of this process, nor any other of this agent, is between an operation on files
	// and its record then.
	recordos.Lock(dir)
	appendTo(filepath.Join(dir, killsFile), name+"\n")
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(fmt.Sprintf("cannot kill this process: %v", err))
	}
	select {}
}

// File is Hit for what happens to a file of a name, as when it is replaced.
func File(moment, path string) { Hit("file." + kind(filepath.Base(path)) + "." + moment) }

// kind is the name of a file where the name says what the file is for, and its form otherwise.
func kind(name string) string {
	switch {
	case len(name) == 64 && !strings.Contains(name, "."):
		return "fragment"
	case name[0] >= '0' && name[0] <= '9':
		return strings.TrimPrefix(filepath.Ext(name), ".")
	default:
		return name
	}
}

func appendTo(path, text string) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		_, err = file.WriteString(text)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		panic(fmt.Sprintf("count what was reached: %v", err))
	}
}
