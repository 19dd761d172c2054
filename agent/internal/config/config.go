// Package config is the agent's own configuration: agent.json in the data directory, written by the
// administrator of the device and only read by the agent.
//
// It is strict: an unknown key is an error, because a misspelt restriction must not be no restriction.
// The device has the last word: what a server may ask for is decided here and nowhere else. Load may be
// called by every program of the agent; the file is never written, so a crash cannot damage it.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/muster/muster/agent/internal/logfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/schedule"
	"github.com/muster/muster/packages/strictjson"
)

// FileName is the configuration's name in the data directory.
const FileName = "agent.json"

// ListenerPort is the default port of the agent's listener, as of the OCS Unified Agent.
const ListenerPort = 62354

// Limits of values.
const (
	maxBytes  = 1 << 20
	maxJitter = 24 * time.Hour

	minLogBytes, maxLogBytes = 64 << 10, 1 << 30
	maxForward               = 100_000 // lines
)

// Config is the configuration, passed down by value.
type Config struct {
	// Schedule is when the agent checks in on its own: a cron expression or "@every 15m".
	Schedule string `json:"schedule"`
	// Jitter is the longest random delay added to each scheduled check-in.
	Jitter Duration `json:"jitter"`
	// LogLevel is debug, info, warn or error: from which level on lines are written on this computer.
	LogLevel string `json:"log_level"`
	// Log bounds the log on this computer, and what of it goes to servers.
	Log Log `json:"log"`
	// ChangeLock is the file whose lock every change of this computer holds. Agents with separate data
	// directories on one computer name the same file; empty is a file in the data directory.
	ChangeLock string `json:"change_lock"`
	// Listener is the agent's own HTTP listener.
	Listener Listener `json:"listener"`
	// Inventory is when inventories are made and what is in them.
	Inventory Inventory `json:"inventory"`
	// Servers restricts single servers, by the name they were enrolled under.
	Servers []Server `json:"servers"`
	// ModulesDir is the folder of the modules from outside; empty is the folder "modules" in the data directory.
	ModulesDir string `json:"modules_dir"`
	// Uninstall restricts what may be uninstalled, by whichever server.
	Uninstall Uninstall `json:"uninstall"`
}

// Log bounds the log. A server whose tasks_allowed lacks "log" gets no lines; which lines the others get is
// theirs to say.
type Log struct {
	// MaxBytes is the longest that a file of the log may be, and Files how many there are.
	MaxBytes int64 `json:"max_bytes"`
	Files    int   `json:"files"`
	// ForwardPerMinute is how many lines a minute a server gets at most, in the long run, and ForwardBurst
	// how many at once. What is more is counted, and the server told the count.
	ForwardPerMinute int `json:"forward_per_minute"`
	ForwardBurst     int `json:"forward_burst"`
}

// Uninstall restricts uninstalling.
type Uninstall struct {
	// Protected are names of programs that stay, with the wildcards of path.Match: "*", "?", "[a-z]".
	Protected []string `json:"protected"`
}

// Listener says whether and to whom the agent answers by HTTP.
type Listener struct {
	Enabled bool `json:"enabled"`
	// Port is 0 for any free one.
	Port int `json:"port"`
	// LAN opens the port on all addresses of the computer, by HTTPS; else it is open on loopback only.
	LAN bool `json:"lan"`
	// LogOnLAN also gives the log to the LAN, to those who know a device id.
	LogOnLAN bool `json:"log_on_lan"`
	// KeepFragments keeps the fragments of shared packages after their deployment has succeeded, for some
	// days, for others to fetch. Private ones are never kept.
	KeepFragments bool `json:"keep_fragments"`
}

// Inventory is when inventories are made and what is in them. A server whose tasks_allowed lacks "inventory"
// gets none.
type Inventory struct {
	// Schedule is when one is made on the agent's own account: a cron expression or "@every 6h".
	Schedule string `json:"schedule"`
	// Jitter is the longest random delay added to each scheduled inventory.
	Jitter Duration `json:"jitter"`
	// Processes adds the running programs, with their command lines.
	Processes bool `json:"processes"`
}

// Server restricts one server.
type Server struct {
	Name string `json:"name"`
	// TasksAllowed lists the kinds of task this server may ask for. Left out, every kind this agent knows
	// is allowed; an empty list allows none.
	TasksAllowed *[]string `json:"tasks_allowed"`
	// Schedule replaces the agent's schedule for this server.
	Schedule string `json:"schedule"`
}

// Duration is a length of time written as text, as "90s" or "15m".
type Duration time.Duration

// UnmarshalText reads a length of time.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a length of time; write one as 90s, 15m or 2h", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes a length of time.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Default is the configuration of an agent without a file.
func Default() Config {
	return Config{
		Schedule: "@every 15m", Jitter: Duration(time.Minute), LogLevel: "info",
		Inventory: Inventory{Schedule: "@every 6h", Jitter: Duration(10 * time.Minute)},
		Listener:  Listener{Enabled: true, Port: ListenerPort},
		Log:       Log{MaxBytes: 1 << 20, Files: 5, ForwardPerMinute: 600, ForwardBurst: 1000},
	}
}

// Load reads agent.json of the data directory over the defaults. A missing file is no error; a file with
// any problem is, and the error names all of them.
func Load(dataDir string) (Config, error) {
	path := filepath.Join(dataDir, FileName)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Default(), nil
	case err != nil:
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	case info.Size() > maxBytes:
		return Config{}, fault.New(fault.Invalid, "%s is larger than %d bytes", path, maxBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return Config{}, fault.Wrap(err, fault.Invalid, "%s", path)
	}
	return c, nil
}

// Parse reads a configuration over the defaults.
func Parse(data []byte) (Config, error) {
	c := Default()
	if err := strictjson.Decode(data, &c); err != nil {
		return Config{}, fault.Wrap(err, fault.Invalid, "the configuration cannot be read")
	}
	return c, c.Validate()
}

// maxName bounds the name of a server, which becomes a folder, in bytes.
const maxName = 100

// ValidName reports whether a server may be enrolled under the name: small letters, digits, and after the
// first character also dot, dash and underscore.
func ValidName(name string) bool {
	for n, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (n == 0 || c != '.' && c != '-' && c != '_') {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// Validate returns all problems, joined.
func (c Config) Validate() error {
	var problems []error
	add := func(field, format string, args ...any) {
		problems = append(problems, fault.Field(field, field+": "+format, args...))
	}
	if _, err := schedule.Parse(c.Schedule); err != nil {
		add("schedule", "%v", err)
	}
	if d := time.Duration(c.Jitter); d < 0 || d > maxJitter {
		add("jitter", "%s is not between 0 and %s", d, maxJitter)
	}
	if _, err := schedule.Parse(c.Inventory.Schedule); err != nil {
		add("inventory.schedule", "%v", err)
	}
	if d := time.Duration(c.Inventory.Jitter); d < 0 || d > maxJitter {
		add("inventory.jitter", "%s is not between 0 and %s", d, maxJitter)
	}
	if _, err := level(c.LogLevel); err != nil {
		add("log_level", "%q is none of debug, info, warn, error", c.LogLevel)
	}
	if n := c.Log.MaxBytes; n < minLogBytes || n > maxLogBytes {
		add("log.max_bytes", "%d is not between %d and %d", n, minLogBytes, maxLogBytes)
	}
	if n := c.Log.Files; n < 1 || n > logfile.MaxFiles {
		add("log.files", "%d is not between 1 and %d", n, logfile.MaxFiles)
	}
	if n := c.Log.ForwardPerMinute; n < 1 || n > maxForward {
		add("log.forward_per_minute", "%d is not between 1 and %d", n, maxForward)
	}
	if n := c.Log.ForwardBurst; n < 1 || n > maxForward {
		add("log.forward_burst", "%d is not between 1 and %d", n, maxForward)
	}
	if c.ChangeLock != "" && !filepath.IsAbs(c.ChangeLock) {
		add("change_lock", "%q is not an absolute path", c.ChangeLock)
	}
	if c.ModulesDir != "" && !filepath.IsAbs(c.ModulesDir) {
		add("modules_dir", "%q is not an absolute path", c.ModulesDir)
	}
	if p := c.Listener.Port; p < 0 || p > 65535 {
		add("listener.port", "%d is not between 0 and 65535", p)
	}
	seen := map[string]bool{}
	for n, s := range c.Servers {
		field := fmt.Sprintf("servers[%d]", n)
		if !ValidName(s.Name) {
			add(field+".name", "%q is not a server name: small letters, digits, dot, dash and underscore", s.Name)
		}
		if seen[s.Name] {
			add(field+".name", "%q is listed twice", s.Name)
		}
		seen[s.Name] = true
		if s.Schedule != "" {
			if _, err := schedule.Parse(s.Schedule); err != nil {
				add(field+".schedule", "%v", err)
			}
		}
		if s.TasksAllowed == nil {
			continue
		}
		for _, kind := range *s.TasksAllowed {
			if !slices.Contains(Kinds(), kind) {
				add(field+".tasks_allowed", "%q is no kind of task; this agent knows %v", kind, Kinds())
			}
		}
	}
	for n, pattern := range c.Uninstall.Protected {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			add(fmt.Sprintf("uninstall.protected[%d]", n), "%q is no name, with * or ? or [a-z] where anything may stand", pattern)
		}
	}
	return errors.Join(problems...)
}

// Kinds lists the kinds of task this agent knows. Of them protocol.TaskLog is never carried out: it stands for
// the forwarding of log lines.
func Kinds() []string {
	return []string{protocol.TaskDeploy, protocol.TaskInventory, protocol.TaskUninstall, protocol.TaskUpdate, protocol.TaskRemove, protocol.TaskLog, protocol.TaskModule}
}

// Allowed lists the kinds of task that the named server may ask for.
func (c Config) Allowed(server string) []string {
	for _, s := range c.Servers {
		if s.Name == server && s.TasksAllowed != nil {
			return slices.Clone(*s.TasksAllowed)
		}
	}
	return Kinds()
}

// ScheduleOf is the check-in schedule for the named server. The configuration must be valid.
func (c Config) ScheduleOf(server string) (schedule.Schedule, error) {
	text := c.Schedule
	for _, s := range c.Servers {
		if s.Name == server && s.Schedule != "" {
			text = s.Schedule
		}
	}
	return schedule.Parse(text)
}

// Level is the log level; info if the configuration was not validated.
func (c Config) Level() slog.Level {
	l, err := level(c.LogLevel)
	if err != nil {
		return slog.LevelInfo
	}
	return l
}

func level(text string) (slog.Level, error) {
	var l slog.Level
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, text) {
		return l, fault.New(fault.Invalid, "unknown level %q", text)
	}
	err := l.UnmarshalText([]byte(text))
	return l, err
}

// ModulesPath is the folder of the modules from outside.
func (c Config) ModulesPath(dataDir string) string {
	if c.ModulesDir != "" {
		return c.ModulesDir
	}
	return filepath.Join(dataDir, "modules")
}

// LockPath is the file of the change lock for a data directory.
func (c Config) LockPath(dataDir string) string {
	if c.ChangeLock != "" {
		return c.ChangeLock
	}
	return filepath.Join(dataDir, "change.lock")
}
