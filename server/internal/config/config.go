// Package config is the server's configuration: defaults, then one strict YAML or JSON file, then
// MUSTER_… variables, then flags. Validate reports every problem at once. A Config is passed down by
// value; nothing of it changes while the server runs.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/logging"
)

// Config is everything that can be set.
type Config struct {
	// Data is the directory of database, keys and fragments.
	Data string `yaml:"data"`
	// Name is what this server calls itself towards people.
	Name string `yaml:"name"`
	// Listen is the TLS address for agents and browsers.
	Listen string `yaml:"listen"`
	// HTTP is a plain address for the browser on the same machine; loopback only, empty for none.
	HTTP string `yaml:"http"`
	// Metrics is the plain address of /metrics; empty for none.
	Metrics string `yaml:"metrics"`
	// Database is a database address; empty for SQLite in the data directory.
	Database string `yaml:"database"`
	// PublicURLs are the https addresses by which agents reach this server, tried in order.
	PublicURLs []string `yaml:"public_urls"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []string `yaml:"trusted_proxies"`
	Log            Log      `yaml:"log"`
	Events         Events   `yaml:"events"`
	Logs           Logs     `yaml:"logs"`

	Retention Retention `yaml:"retention"`
}

// Log says how to log.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
}

// Events says what of devices is worth an event, and how long events are kept. Times are written as 90m, 36h
// or 180d.
type Events struct {
	// DiskLowPercent is how much of a local file system must be free for it not to run low.
	DiskLowPercent int `yaml:"disk_low_percent"`
	// SilentAfter is how long a device may say nothing.
	SilentAfter string `yaml:"silent_after"`
	// Keep is how long events are kept.
	Keep string `yaml:"keep"`
}

// Logs says how many of the log lines that devices forward are kept.
type Logs struct {
	// Keep is how long lines are kept, written as 36h or 30d.
	Keep string `yaml:"keep"`
	// LinesPerDevice is how many lines of one device are kept.
	LinesPerDevice int `yaml:"lines_per_device"`
}

// Retention says how long is kept what nobody needs any more; times are written as 90d.
type Retention struct {
	// GoneDevices is how long tasks, inventories and the history of software stay of a device that is removed or
	// revoked.
	GoneDevices string `yaml:"gone_devices"`
	// FinishedTasks is how long tasks stay that are over, with their timelines.
	FinishedTasks string `yaml:"finished_tasks"`
}

// Times are GoneDevices and FinishedTasks; zero is what Validate refuses.
func (r Retention) Times() (goneDevices, finishedTasks time.Duration) {
	goneDevices, _ = duration(r.GoneDevices)
	finishedTasks, _ = duration(r.FinishedTasks)
	return goneDevices, finishedTasks
}

// Time is Keep; zero is what Validate refuses.
func (l Logs) Time() time.Duration {
	keep, _ := duration(l.Keep)
	return keep
}

// Times are SilentAfter and Keep; zero is what Validate refuses.
func (e Events) Times() (silentAfter, keep time.Duration) {
	silentAfter, _ = duration(e.SilentAfter)
	keep, _ = duration(e.Keep)
	return silentAfter, keep
}

// duration reads a time with a unit; d is a day of 24 hours.
func duration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 36500 {
			return 0, fault.New(fault.Invalid, "%q is not a number of days", text)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(text)
}

// Default is the configuration without file, variables and flags.
func Default() Config {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "muster"
	}
	return Config{
		Data: defaultData(), Name: name, Listen: ":8443", HTTP: "localhost:8080",
		Log:    Log{Level: "info", Format: logging.Text},
		Events: Events{DiskLowPercent: 10, SilentAfter: "24h", Keep: "180d"},
		Logs:   Logs{Keep: "30d", LinesPerDevice: 20_000},

		Retention: Retention{GoneDevices: "90d", FinishedTasks: "180d"},
	}
}

func defaultData() string {
	if os.Geteuid() == 0 {
		return "/var/lib/muster-server"
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "muster-server-data"
	}
	return filepath.Join(home, ".local", "share", "muster-server")
}

// DatabaseURL is the database to open.
func (c Config) DatabaseURL() string {
	if c.Database != "" {
		return c.Database
	}
	path, err := filepath.Abs(filepath.Join(c.Data, "muster.db"))
	if err != nil { // no working directory: the relative path fails with a better message later
		path = filepath.Join(c.Data, "muster.db")
	}
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	u := url.URL{Scheme: "sqlite", Path: path}
	return u.String()
}

// URLs are the public addresses; when none are set, the names this computer surely has, with the port
// that the server listens on.
func (c Config) URLs(listening net.Addr) []string {
	if len(c.PublicURLs) > 0 {
		return c.PublicURLs
	}
	host, port, err := net.SplitHostPort(listening.String())
	if err != nil {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() {
		return []string{"https://" + net.JoinHostPort(host, port)}
	}
	urls := []string{"https://localhost:" + port}
	if name, err := os.Hostname(); err == nil && name != "" && name != "localhost" {
		urls = append([]string{"https://" + net.JoinHostPort(name, port)}, urls...)
	}
	return urls
}

// LogLevel is the level to log from.
func (c Config) LogLevel() slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		return slog.LevelInfo // Validate has refused it
	}
	return level
}

// Proxies are the trusted proxies as networks.
func (c Config) Proxies() []*net.IPNet {
	var nets []*net.IPNet
	for _, s := range c.TrustedProxies {
		if _, n, err := net.ParseCIDR(s); err == nil {
			nets = append(nets, n)
		}
	}
	return nets
}

// Validate returns all problems, joined; each is a fault naming its field.
func (c Config) Validate() error {
	var problems []error
	add := func(field, format string, args ...any) {
		problems = append(problems, fault.Field(field, field+": "+format, args...))
	}
	if c.Data == "" {
		add("data", "name the directory for database, keys and fragments")
	}
	if n := len(c.Name); n == 0 || n > 120 {
		add("name", "give the server a name of 1 to 120 bytes")
	}
	for field, addr := range map[string]string{"listen": c.Listen, "http": c.HTTP, "metrics": c.Metrics} {
		if addr == "" && field != "listen" {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			add(field, "%q is not an address; write host:port or :port", addr)
		}
	}
	if c.HTTP != "" && !loopback(c.HTTP) {
		add("http", "%q is open to other computers; the plain listener is for this computer only, write localhost:8080, and use listen for others", c.HTTP)
	}
	for _, raw := range c.PublicURLs {
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			add("public_urls", "%q is not like https://muster.example.org:8443", raw)
		} else if strings.ContainsFunc(u.Hostname(), func(c rune) bool { return c <= ' ' || c > '~' }) {
			add("public_urls", "%q has a name that fits no certificate; write it in ASCII, as xn--mnster-3ya.example", raw)
		}
	}
	if len(c.PublicURLs) > 16 {
		add("public_urls", "%d addresses are too many; at most 16 fit an enrollment string", len(c.PublicURLs))
	}
	for _, s := range c.TrustedProxies {
		if _, _, err := net.ParseCIDR(s); err != nil {
			add("trusted_proxies", "%q is not a network; write 10.0.0.0/8 or 192.0.2.7/32", s)
		}
	}
	if err := new(slog.Level).UnmarshalText([]byte(c.Log.Level)); err != nil {
		add("log.level", "%q is unknown; write debug, info, warn or error", c.Log.Level)
	}
	if c.Log.Format != logging.Text && c.Log.Format != logging.JSON {
		add("log.format", "%q is unknown; write text or json", c.Log.Format)
	}
	problems = append(problems, c.Events.validate()...)
	problems = append(problems, c.Logs.validate()...)
	problems = append(problems, c.Retention.validate()...)
	return errors.Join(problems...)
}

func (e Events) validate() (problems []error) {
	if e.DiskLowPercent < 1 || e.DiskLowPercent > 90 {
		problems = append(problems, fault.Field("events.disk_low_percent", "events.disk_low_percent: %d is not between 1 and 90", e.DiskLowPercent))
	}
	for _, t := range []struct {
		field, text string
		least       time.Duration
	}{{"events.silent_after", e.SilentAfter, time.Minute}, {"events.keep", e.Keep, 24 * time.Hour}} {
		if d, err := duration(t.text); err != nil || d < t.least {
			problems = append(problems, fault.Field(t.field, "%s: %q is not a time of at least %s; write 36h or 180d", t.field, t.text, t.least))
		}
	}
	return problems
}

func (r Retention) validate() (problems []error) {
	for field, text := range map[string]string{"retention.gone_devices": r.GoneDevices, "retention.finished_tasks": r.FinishedTasks} {
		if d, err := duration(text); err != nil || d < 24*time.Hour {
			problems = append(problems, fault.Field(field, "%s: %q is not a time of at least a day; write 90d", field, text))
		}
	}
	return problems
}

func (l Logs) validate() (problems []error) {
	if d, err := duration(l.Keep); err != nil || d < time.Hour {
		problems = append(problems, fault.Field("logs.keep", "logs.keep: %q is not a time of at least an hour; write 36h or 30d", l.Keep))
	}
	if l.LinesPerDevice < 100 || l.LinesPerDevice > 10_000_000 {
		problems = append(problems, fault.Field("logs.lines_per_device", "logs.lines_per_device: %d is not between 100 and 10 million", l.LinesPerDevice))
	}
	return problems
}

// loopback reports whether an address can be reached from this computer only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // reported elsewhere
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// wrapFile names the file in an error.
func wrapFile(path string, err error) error {
	return fmt.Errorf("read configuration %s: %w", path, err)
}
