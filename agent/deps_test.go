package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// budget is the size of the stripped program in bytes. Raising it needs a reason in the commit.
const budget = 14 << 20

// forbidden are import path prefixes that the packages of the resident process must not reach, and why.
var forbidden = map[string]string{
	"gorm.io/":                                               "databases are the server's",
	"database/sql":                                           "databases are the server's",
	"github.com/ncruces/":                                    "databases are the server's",
	"github.com/labstack/":                                   "the agent is no web server",
	"github.com/danielgtaylor/huma":                          "the agent is no web server",
	"github.com/mholt/archives":                              "costs 1.9 MB of memory by being imported; archives belong to task processes",
	"archive/":                                               "archives belong to task processes",
	"github.com/muster/muster/packages/archive":              "archives belong to task processes",
	"github.com/shirou/gopsutil":                             "the resident reads what it needs itself",
	"github.com/spf13/":                                      "the agent's command line is package flag",
	"github.com/prometheus/":                                 "metrics are the server's",
	"github.com/muster/muster/server/":                       "the agent knows the server by packages/protocol only",
	"github.com/muster/muster/web":                           "the agent has no user interface",
	"github.com/muster/muster/agent/internal/task/deploy":    "tasks run in processes of their own",
	"github.com/muster/muster/agent/internal/task/inventory": "tasks run in processes of their own",
	"github.com/muster/muster/agent/internal/task/software":  "tasks run in processes of their own",
	"github.com/muster/muster/agent/internal/task/update":    "tasks run in processes of their own",
	"github.com/muster/muster/agent/internal/task/fetch":     "tasks run in processes of their own",
	"testing": "test code is not for users",
	"github.com/muster/muster/agent/internal/task/module": "tasks run in processes of their own",
	"github.com/google/jsonschema-go":                     "parameters are checked by the module task",
}

func goList(t *testing.T, goos string, packages ...string) []string {
	t.Helper()
	c := exec.Command("go", append([]string{"list", "-deps"}, packages...)...)
	c.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := c.Output()
	require.NoError(t, err)
	return strings.Fields(string(out))
}

func TestResident_importsLittle(t *testing.T) {
	t.Parallel()
	for _, goos := range []string{"linux", "windows", "darwin"} {
		for _, pkg := range goList(t, goos, "./internal/resident", "./internal/session") {
			for prefix, why := range forbidden {
				hit := pkg == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(pkg, strings.TrimSuffix(prefix, "/")+"/")
				hit = hit && pkg != "database/sql/driver" // interfaces alone, reached through google/uuid
				require.False(t, hit, "%s: the resident reaches %s: %s", goos, pkg, why)
			}
		}
	}
}

func TestAgent_importsNoServer(t *testing.T) {
	t.Parallel()
	for _, pkg := range goList(t, "linux", ".") {
		for _, prefix := range []string{"github.com/muster/muster/server", "gorm.io", "github.com/ncruces", "github.com/labstack"} {
			require.False(t, strings.HasPrefix(pkg, prefix) || pkg == "database/sql", "the agent reaches %s", pkg)
		}
	}
}

func TestAgent_isSmall(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "muster-agent")
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), int64(budget), "the stripped program is %d bytes", info.Size())
}
