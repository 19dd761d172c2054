package config

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/muster/muster/packages/fault"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Load puts the layers together: defaults, the file unless its path is empty, variables, flags. It
// does not validate.
func Load(file string, env func(string) (string, bool), flags func(*Config)) (Config, error) {
	c := Default()
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return c, wrapFile(file, err)
		}
		if err := decode(data, &c); err != nil {
			return c, wrapFile(file, err)
		}
	}
	fromEnv(&c, env)
	if flags != nil {
		flags(&c)
	}
	return c, nil
}

// decode reads YAML, of which JSON is a part, into c. An unknown or repeated key is an error: a
// misspelt setting must not be ignored.
func decode(data []byte, c *Config) error {
	if len(data) > maxFile {
		return fault.New(fault.Invalid, "the file is over %d bytes long", maxFile)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // empty
		}
		return fault.New(fault.Invalid, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var more any
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "the file holds more than one document")
	}
	return nil
}

// fromEnv reads MUSTER_… variables. Lists are separated by commas; an empty variable counts, so that it
// can switch a listener off.
func fromEnv(c *Config, env func(string) (string, bool)) {
	if env == nil {
		return
	}
	for name, field := range map[string]*string{
		"MUSTER_DATA": &c.Data, "MUSTER_NAME": &c.Name, "MUSTER_LISTEN": &c.Listen, "MUSTER_HTTP": &c.HTTP,
		"MUSTER_METRICS": &c.Metrics, "MUSTER_DATABASE": &c.Database,
		"MUSTER_LOG_LEVEL": &c.Log.Level, "MUSTER_LOG_FORMAT": &c.Log.Format,
	} {
		if v, ok := env(name); ok {
			*field = v
		}
	}
	for name, field := range map[string]*[]string{
		"MUSTER_PUBLIC_URLS": &c.PublicURLs, "MUSTER_TRUSTED_PROXIES": &c.TrustedProxies,
	} {
		if v, ok := env(name); ok {
			*field = split(v)
		}
	}
}

func split(list string) []string {
	var out []string
	for _, s := range strings.Split(list, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}
