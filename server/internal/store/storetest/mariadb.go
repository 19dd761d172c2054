package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/go-sql-driver/mysql" // registers the driver
)

// startMariaDB starts the private server on first use. One per test binary is a must: a start takes
// seconds.
var startMariaDB = sync.OnceValues(newMariaDB)

// mariaDB is a private database server.
type mariaDB struct {
	socket string
	admin  *sql.DB
	made   atomic.Int64
}

// guard runs the server as a child of a shell which waits on its standard input. The pipe closes when
// the test binary ends, however it ends; then the server goes and its files with it.
const guard = `
dir=$1; shift
"$@" >"$dir/log" 2>&1 & pid=$!
read -r _
kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
rm -rf "$dir"`

func newMariaDB() (*mariaDB, error) {
	install, err := lookup("mariadb-install-db")
	if err != nil {
		return nil, err
	}
	daemon, err := lookup("mariadbd")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "muster-db-")
	if err != nil {
		return nil, err
	}
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "s")
	// In a common tmpdir servers that start at once delete each other's temporary tables.
	own := []string{"--no-defaults", "--datadir=" + data, "--tmpdir=" + dir, "--innodb-log-file-size=16M"}
	if os.Getuid() == 0 {
		own = append(own, "--user=root")
	}
	args := append([]string{}, own...)
	args = append(args, "--auth-root-authentication-method=normal", "--skip-test-db")
	if out, err := exec.Command(install, args...).CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("install a private database: %w: %s", err, out), os.RemoveAll(dir))
	}
	args = append([]string{"-c", guard, "guard", dir, daemon}, own...)
	args = append(args, "--skip-networking", "--socket="+socket, "--pid-file="+filepath.Join(dir, "pid"),
		// Tests lose nothing by a power cut.
		"--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--skip-log-bin", "--innodb-buffer-pool-size=64M",
		"--performance-schema=OFF", "--max-connections=500")
	cmd := exec.Command("sh", args...)
	if _, err := cmd.StdinPipe(); err != nil { // held open until the process ends
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start mariadbd: %w", err), os.RemoveAll(dir))
	}
	go func() { _ = cmd.Wait() }() // reaped so that it is no zombie; its end shows in the connections
	s := &mariaDB{socket: socket}
	if s.admin, err = sql.Open("mysql", "root@unix("+socket+")/"); err != nil {
		return nil, err
	}
	return s, s.await(filepath.Join(dir, "log"))
}

// await returns once the server answers.
func (s *mariaDB) await(logFile string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.admin.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(logFile)
			return fmt.Errorf("wait for mariadbd: %w: %s", err, log)
		}
	}
}

// createDatabase makes an empty database and returns its address.
func (s *mariaDB) createDatabase(ctx context.Context) (string, error) {
	name := fmt.Sprintf("muster_%d", s.made.Add(1))
	if _, err := s.admin.ExecContext(ctx, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"); err != nil {
		return "", fmt.Errorf("create database: %w", err)
	}
	return "mysql://root@localhost/" + name + "?socket=" + s.socket, nil
}

// lookup finds a program in PATH or in the folders where distributions keep daemons.
func lookup(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, dir := range strings.Fields("/usr/sbin /usr/local/sbin /usr/libexec /usr/local/bin") {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", name)
}
