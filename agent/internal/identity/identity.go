// Package identity keeps what a device is to one server: its id and secrets, the pinned CA, the trust
// document, the high-water marks of package serials and the time of the next check-in. Everything lives
// in servers/<name>/ of the data directory, readable by the agent alone, and every file is replaced
// whole: after a crash each holds its old or its new content.
//
// The order is always persist, then use: nonce and secret are on disk before a server hears of them, a
// trust document before anything is decided by it. Load and Save may be called by the resident and by
// enrollment; task processes only read, except for serials, which only the one running task writes.
package identity

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/strictjson"
)

// Names of files and folders.
const (
	serversDir   = "servers"
	identityFile = "identity.json"
	trustFile    = "trust.json"
	serialsFile  = "serials.json"
	stateFile    = "state.json"
	planFile     = "inventory.json"
	forwardFile  = "log.json"
)

const (
	format   = 1
	fileMode = 0o600
	dirMode  = 0o700
	maxFile  = 32 << 20 // bytes of any file kept here
)

// Identity is the content of identity.json.
type Identity struct {
	Format int      `json:"format"`
	URLs   []string `json:"urls"`
	// CAFingerprint and RootKeyID came with the enrollment string; CAPEM is the certificate that matched.
	CAFingerprint string `json:"ca_fingerprint"`
	RootKeyID     string `json:"root_key_id"`
	CAPEM         string `json:"ca_pem"`
	// Token is kept only until the server has answered.
	Token  string `json:"token,omitempty"`
	Nonce  string `json:"nonce"`
	Secret string `json:"secret"`
	// NextSecret is set while the secret is being changed: persisted before the server hears of it, and
	// made Secret at its first successful use.
	NextSecret string `json:"next_secret,omitempty"`
	// OldSecret is the one before Secret. It is of use only to a server that was restored from a backup made
	// before the change; any other is told by it that this device is restored or doubled.
	OldSecret  string    `json:"old_secret,omitempty"`
	SecretAt   time.Time `json:"secret_at"`
	DeviceID   string    `json:"device_id,omitempty"` // empty until enrolled
	EnrolledAt time.Time `json:"enrolled_at"`
}

// Enrolled reports whether the server has made the device.
func (i Identity) Enrolled() bool { return i.DeviceID != "" }

// Store is the folder of one server.
type Store struct {
	name string
	dir  string

	settle  sync.Once
	settled error
}

// Open names the folder of a server. Nothing is touched until something is saved.
func Open(dataDir, name string) *Store {
	return &Store{name: name, dir: filepath.Join(dataDir, serversDir, name)}
}

// Name is the name the server was enrolled under.
func (s *Store) Name() string { return s.name }

// Dir is the server's folder.
func (s *Store) Dir() string { return s.dir }

// Folder is where the folders of all servers are.
func Folder(dataDir string) string { return filepath.Join(dataDir, serversDir) }

// List names the servers of a data directory, in order of their names. One whose identity cannot be looked at
// is among them: for what is decided by the list, as the removal of the agent, it is not gone.
func List(dataDir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dataDir, serversDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the servers: %w", err)
	}
	var names []string
	for _, e := range entries {
		_, err := os.Stat(filepath.Join(dataDir, serversDir, e.Name(), identityFile))
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Load reads the identity. A server that was never asked is a fault of code not_found.
func (s *Store) Load() (Identity, error) {
	var i Identity
	found, err := s.read(identityFile, &i)
	switch {
	case err != nil:
		return i, err
	case !found:
		return i, fault.New(fault.NotFound, "this device is not enrolled at %q", s.name)
	case i.Format != format:
		return i, fault.New(fault.Unsupported, "the identity for %q is of format %d; this agent reads format %d", s.name, i.Format, format)
	}
	return i, nil
}

// Save persists the identity.
func (s *Store) Save(i Identity) error {
	i.Format = format
	return s.write(identityFile, i)
}

// State is what a session remembers over a restart.
type State struct {
	NextCheckIn time.Time `json:"next_check_in"`
	LastCheckIn time.Time `json:"last_check_in"` // that was answered
	FactsSHA256 string    `json:"facts_sha256"`  // of the facts the server has
	DeviceState string    `json:"device_state"`
	// Offered are the attempts, and tasks of other kinds, that the last answered check-in named: no other may
	// be begun.
	Offered []string `json:"offered,omitempty"`
}

// StateRefused stands for the device's state when the server answers that it does not know this device, or
// has revoked it.
const StateRefused = "refused"

// LoadState reads the state. A missing or damaged file is the zero state: it costs one early check-in.
func (s *Store) LoadState() State {
	var st State
	if found, err := s.read(stateFile, &st); err != nil || !found {
		return State{}
	}
	return st
}

// SaveState persists the state.
func (s *Store) SaveState(st State) error { return s.write(stateFile, st) }

// Plan is when a server gets its next inventory.
type Plan struct {
	Next   time.Time `json:"next"` // due
	Last   time.Time `json:"last"` // that the server has taken
	BootID string    `json:"boot_id"`
	// Problem is why the newest one was not sent.
	Problem string `json:"problem,omitempty"`
}

// LoadPlan reads the plan. A missing or damaged file is the zero plan: an inventory is due.
func (s *Store) LoadPlan() Plan {
	var p Plan
	if found, err := s.read(planFile, &p); err != nil || !found {
		return Plan{}
	}
	return p
}

// SavePlan persists the plan.
func (s *Store) SavePlan(p Plan) error { return s.write(planFile, p) }

// Forwarding is what a server asks for of the log.
type Forwarding struct {
	Setting protocol.LogSetting `json:"setting"`
	At      time.Time           `json:"at"` // when it was asked for, by our clock
	// How long the level, and the following, were to last then by the server's clock; 0 without an end.
	LevelFor  time.Duration `json:"level_for"`
	FollowFor time.Duration `json:"follow_for"`
}

// LoadForwarding reads what the server asks for. A missing or damaged file is nothing, until the next check-in.
func (s *Store) LoadForwarding() Forwarding {
	var f Forwarding
	if found, err := s.read(forwardFile, &f); err != nil || !found || f.Setting.Validate() != nil {
		return Forwarding{}
	}
	return f
}

// SaveForwarding persists what the server asks for.
func (s *Store) SaveForwarding(f Forwarding) error { return s.write(forwardFile, f) }

// Secret makes 256 random bits as 64 hex digits.
func Secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: the runtime ends the program instead
	return hex.EncodeToString(b[:])
}

// read reads a file. What it returns survives a power cut: a process that crashed may have replaced the file
// and not have got round to syncing its name, so that is done before anything is read.
func (s *Store) read(name string, v any) (found bool, err error) {
	s.settle.Do(func() {
		if err := atomicfile.SyncDir(s.dir); !errors.Is(err, fs.ErrNotExist) {
			s.settled = err
		}
	})
	if s.settled != nil {
		return false, s.settled
	}
	path := filepath.Join(s.dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	if info.Size() > maxFile {
		return false, fault.New(fault.TooLarge, "%s is larger than %d bytes", path, maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	if err := strictjson.Decode(data, v); err != nil {
		return false, fault.Wrap(err, fault.Internal, "%s is damaged: restore it, or enroll again", path)
	}
	return true, nil
}

func (s *Store) write(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	if err := atomicfile.MkdirAll(s.dir, dirMode); err != nil {
		return fmt.Errorf("make the folder of server %q: %w", s.name, err)
	}
	if err := atomicfile.Write(filepath.Join(s.dir, name), data, fileMode); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Forget removes the identity for a server, first of all in its folder: without it the folder is none of a server.
func Forget(dataDir, name string) error {
	dir := Open(dataDir, name).Dir()
	if err := os.Remove(filepath.Join(dir, identityFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget server %q: %w", name, err)
	}
	return atomicfile.SyncDir(dir)
}
