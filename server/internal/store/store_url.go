package store

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/gormlite"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
)

// target is a parsed database address.
type target struct {
	dialect string
	path    string        // SQLite
	config  *mysql.Config // MySQL
}

// parseURL reads a database address. Errors never repeat it, since it may hold a password.
func parseURL(raw string) (target, error) {
	bad := func(format string, args ...any) (target, error) {
		return target{}, fault.Field("database", format+"; write sqlite:///path/file.db or mysql://user:password@host:3306/database", args...)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return bad("the database address is malformed")
	}
	switch u.Scheme {
	case "sqlite":
		return parseSQLite(u, bad)
	case "mysql", "mariadb":
		return parseMySQL(u, bad)
	default:
		return bad("the database address has the unknown scheme %q", u.Scheme)
	}
}

type badURL func(format string, args ...any) (target, error)

func parseSQLite(u *url.URL, bad badURL) (target, error) {
	path := u.Path
	if runtime.GOOS == "windows" {
		path = strings.TrimPrefix(path, "/")
	}
	if u.Host != "" || u.RawQuery != "" || path == "" || strings.HasSuffix(path, "/") {
		return bad("the SQLite address must be an absolute file path with three slashes and no options")
	}
	return target{dialect: SQLite, path: filepath.FromSlash(path)}, nil
}

func parseMySQL(u *url.URL, bad badURL) (target, error) {
	c := mysql.NewConfig()
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr = "tcp", u.Host
	if u.Port() == "" {
		c.Addr = u.Hostname() + ":3306"
	}
	c.DBName = strings.TrimPrefix(u.Path, "/")
	if c.User == "" || c.DBName == "" || strings.Contains(c.DBName, "/") {
		return bad("the MySQL address lacks a user or a database name")
	}
	for key, values := range u.Query() {
		switch value := values[0]; {
		case key == "tls" && (value == "true" || value == "false"):
			c.TLSConfig = value
		case key == "socket" && filepath.IsAbs(value):
			c.Net, c.Addr = "unix", value
		default:
			return bad("the MySQL address has the unknown option %s=%s; known are tls=true and socket=/path", key, value)
		}
	}
	if c.Net == "tcp" && u.Hostname() == "" {
		return bad("the MySQL address lacks a host")
	}
	c.ParseTime, c.Loc = true, time.UTC
	c.Collation = "utf8mb4_bin"
	c.InterpolateParams = true // one round trip per statement
	c.ClientFoundRows = true   // RowsAffected counts matched rows, as SQLite does
	c.Timeout = 10 * time.Second
	return target{dialect: MySQL, config: c}, nil
}

// name is the address for people and logs, without credentials.
func (t target) name() string {
	if t.dialect == SQLite {
		return t.path
	}
	return t.config.Addr + "/" + t.config.DBName
}

func (t target) dialector() (gorm.Dialector, error) {
	if t.dialect == SQLite {
		if err := createPrivate(t.path); err != nil {
			return nil, err
		}
		pool, err := driver.Open(sqliteDSN(t.path), lowerAllLetters)
		if err != nil {
			return nil, err
		}
		return gormlite.OpenDB(pool), nil
	}
	precision := 3
	return gormmysql.New(gormmysql.Config{
		DSNConfig: t.config, DSN: t.config.FormatDSN(), DefaultStringSize: 255, DefaultDatetimePrecision: &precision,
	}), nil
}

// sqliteDSN sets everything per connection, since a pragma run through the pool reaches one only.
// busy_timeout stands first: several processes may open a new file at once. The time format is UTC
// with fixed digits: what is compared and sorted as text must be of one length.
func sqliteDSN(path string) string {
	q := url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(on)", "temp_store(memory)"},
		"_txlock": {"immediate"}, "_timefmt": {"2006-01-02T15:04:05.000"},
	}
	p := filepath.ToSlash(path)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p // C:/…
	}
	u := url.URL{Scheme: "file", Path: p, RawQuery: q.Encode()}
	return u.String()
}

// createPrivate makes the file before SQLite does, which would let others read it.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("create database file: %w", err)
	}
	return f.Close()
}

// limit bounds the connections.
func (t target) limit(pool *sql.DB) {
	if t.dialect == SQLite {
		pool.SetMaxOpenConns(8) // one writes, the others read; each holds some memory
		pool.SetMaxIdleConns(8) // opening one costs more than many statements
		pool.SetConnMaxIdleTime(5 * time.Minute)
		return
	}
	pool.SetMaxOpenConns(32)
	pool.SetMaxIdleConns(8)
	pool.SetConnMaxLifetime(9 * time.Minute) // under the usual ten minutes of balancers and servers
}
