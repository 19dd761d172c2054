package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/muster/internal/client"
)

// config is what login leaves behind. The file is secret: it holds the API token.
type config struct {
	Server   string `json:"server"`
	Username string `json:"username"`
	Token    string `json:"token"`
	TokenID  string `json:"token_id"`
	CA       string `json:"ca,omitempty"` // PEM
}

// maxConfig bounds the file, in bytes.
const maxConfig = 1 << 20

func (a *app) configFile() (string, error) {
	if a.configPath != "" {
		return a.configPath, nil
	}
	dir := a.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := a.Getenv("HOME")
		if runtime.GOOS == "windows" || home == "" {
			var err error
			if dir, err = os.UserConfigDir(); err != nil {
				return "", usage("no place for the configuration: say --config FILE")
			}
		} else {
			dir = filepath.Join(home, ".config")
		}
	}
	return filepath.Join(dir, "muster", "config.json"), nil
}

// loadConfig reads the file; without one it is empty.
func (a *app) loadConfig() (config, error) {
	var c config
	path, err := a.configFile()
	if err != nil {
		return c, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("open configuration: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return c, fmt.Errorf("open configuration: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return c, fault.New(fault.Invalid, "%s holds a secret, but others may read it: chmod 600 it, or log in again", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxConfig))
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return c, fault.New(fault.Invalid, "%s is not a configuration of this program (%v): log in again", path, err)
	}
	return c, nil
}

func (a *app) saveConfig(c config) error {
	path, err := a.configFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make configuration directory: %w", err)
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encode configuration: %w", err)
	}
	return atomicfile.Write(path, append(data, '\n'), 0o600)
}

// connect makes the client: flags, then environment, then what login saved. A saved token goes to the
// server it is of, and to no other.
func (a *app) connect() (*client.Client, error) {
	saved, err := a.loadConfig()
	if err != nil {
		return nil, err
	}
	o := client.Options{URL: first(a.server, a.Getenv("MUSTER_SERVER"), saved.Server), Token: a.Getenv("MUSTER_TOKEN")}
	if o.URL == "" {
		return nil, usage("no server: log in first (muster login URL), or say --server or MUSTER_SERVER")
	}
	base, err := client.ParseServer(o.URL)
	if err != nil {
		return nil, usageError{err}
	}
	if base.String() == saved.Server {
		o.Token = first(o.Token, saved.Token)
		o.CA = []byte(saved.CA)
	}
	if file := first(a.caFile, a.Getenv("MUSTER_CA")); file != "" {
		if o.CA, err = readCA(file); err != nil {
			return nil, err
		}
	}
	if o.Token == "" {
		return nil, fault.New(fault.Unauthenticated, "not logged in to %s", base)
	}
	return client.New(o)
}

func readCA(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CA file: %w", err)
	}
	return data, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
