package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster/muster/packages/unabletest"
)

// A private MariaDB serves all tests of this binary; every server gets a database of its own.
var mariadb struct {
	once   sync.Once
	err    error
	dir    string
	port   string
	cmd    *exec.Cmd
	served atomic.Int64
}

// onEachDatabase runs a test with the built-in SQLite and with MariaDB.
func onEachDatabase(t *testing.T, fn func(t *testing.T, database string)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		fn(t, "")
	})
	t.Run("mariadb", func(t *testing.T) {
		t.Parallel()
		fn(t, newDatabase(t))
	})
}

// newDatabase makes an empty database and returns its URL.
func newDatabase(t *testing.T) string {
	t.Helper()
	path := os.Getenv("PATH") + ":/usr/sbin:/sbin"
	for _, needed := range []string{"mariadbd", "mariadb", "mariadb-install-db"} {
		if find(needed) == "" {
			unabletest.Skip(t, "%s is not in %s: install mariadb-server", needed, path)
		}
	}
	mariadb.once.Do(func() {
		port := freePort(t)
		mariadb.err = startMariaDB(port)
	})
	if mariadb.err != nil {
		t.Fatal(mariadb.err)
	}
	name := fmt.Sprintf("muster_%d", mariadb.served.Add(1))
	sql := fmt.Sprintf("CREATE DATABASE %s; CREATE USER '%s'@'%%' IDENTIFIED BY 'e2e'; GRANT ALL ON %s.* TO '%s'@'%%';", name, name, name, name)
	if err := mariadbSQL(sql); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("mysql://%s:e2e@127.0.0.1:%s/%s", name, mariadb.port, name)
}

func startMariaDB(port string) error {
	dir, err := os.MkdirTemp("", "muster-e2e-db-")
	if err != nil {
		return err
	}
	mariadb.dir, mariadb.port = dir, port
	user := "--user=" + currentUser()
	data := filepath.Join(dir, "data")
	out, err := exec.Command(find("mariadb-install-db"), "--no-defaults", user, "--datadir="+data, "--skip-test-db",
		"--auth-root-authentication-method=normal").CombinedOutput()
	if err != nil {
		return fmt.Errorf("prepare MariaDB: %w\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	mariadb.cmd = exec.Command(find("mariadbd"), "--no-defaults", user, "--datadir="+data, "--socket="+socket(),
		"--bind-address=127.0.0.1", "--port="+port, "--skip-name-resolve", "--innodb-buffer-pool-size=64M")
	mariadb.cmd.Stdout, mariadb.cmd.Stderr = log, log
	if err := mariadb.cmd.Start(); err != nil {
		return err
	}
	deadline := time.After(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := mariadbSQL("SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("MariaDB does not start: %w\n%s", err, text)
		}
	}
}

func mariadbSQL(sql string) error {
	cmd := exec.Command(find("mariadb"), "--no-defaults", "--socket="+socket(), "--user=root", "--batch")
	cmd.Stdin = bytes.NewBufferString(sql)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb: %w: %s", err, out)
	}
	return nil
}

func stopMariaDB() {
	if mariadb.cmd != nil && mariadb.cmd.Process != nil {
		_ = mariadb.cmd.Process.Kill()
		_ = mariadb.cmd.Wait()
	}
	if mariadb.dir != "" {
		os.RemoveAll(mariadb.dir)
	}
}

func socket() string { return filepath.Join(mariadb.dir, "s") }

// find looks a program up, also where ordinary users' PATH does not lead.
func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path := filepath.Join(dir, name); exec.Command("test", "-x", path).Run() == nil {
			return path
		}
	}
	return ""
}

func currentUser() string {
	if os.Getuid() == 0 {
		return "root"
	}
	return os.Getenv("USER")
}
