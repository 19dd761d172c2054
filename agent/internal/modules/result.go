package modules

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// Names in the data directory and in the folder of results.
const (
	resultsDir = "module-results"
	resultExt  = ".result"
	planFile   = "plan.json"
	workDir    = "work"
)

// maxHead bounds the first line of a result, in bytes.
const maxHead = 64 << 10

// Result is what became of a module's newest run, or why it is refused. Rows are those of the newest run that
// succeeded.
type Result struct {
	ID     string `json:"id"`             // of this result
	TaskID string `json:"task,omitempty"` // of the server's task that it is of
	Module string `json:"module"`
	// State and Reason are how the run ended; empty for a module that is refused, or is so no more.
	State   protocol.State  `json:"state,omitempty"`
	Reason  protocol.Reason `json:"reason,omitempty"`
	Message string          `json:"message,omitempty"`
	EndedAt time.Time       `json:"ended_at"`
	// Problem is what the section tells: why the run failed, the module is refused, or what is not among the rows.
	Problem string `json:"problem,omitempty"`
	Refused bool   `json:"refused,omitempty"`

	// Of the rows: when they were found, how many they are, their digest (empty: there are none), their columns.
	CollectedAt time.Time         `json:"collected_at"`
	Rows        int               `json:"rows"`
	SHA256      string            `json:"sha256,omitempty"`
	Columns     []protocol.Column `json:"columns,omitempty"`
}

// Results are the results that are kept in a data directory.
type Results struct{ dir string }

// ResultsOf names the results of a data directory.
func ResultsOf(dataDir string) Results { return Results{filepath.Join(dataDir, resultsDir)} }

// WorkDir is the working directory of a module while it runs.
func (r Results) WorkDir(name string) string { return filepath.Join(r.dir, workDir, name) }

// LockPath is the file whose lock the process that runs the module holds.
func (r Results) LockPath(name string) string { return filepath.Join(r.dir, name+".lock") }

// Make makes the folder.
func (r Results) Make() error { return atomicfile.MkdirAll(r.dir, 0o700) }

func (r Results) path(name string) string { return filepath.Join(r.dir, name+resultExt) }

// Save keeps a result and its rows, one JSON object a line, in place of what was kept.
func (r Results) Save(res Result, rows []byte) error {
	head, err := json.Marshal(res)
	if err != nil {
		return fmt.Errorf("keep the result of module %s: %w", res.Module, err)
	}
	data := append(append(head, '\n'), rows...)
	if err := errors.Join(r.Make(), atomicfile.Write(r.path(res.Module), data, 0o600)); err != nil {
		return fmt.Errorf("keep the result of module %s: %w", res.Module, err)
	}
	return nil
}

// Head reads a result without its rows. The error has the code not_found when there is none, or when it is
// damaged, which is the same: the next run makes another.
func (r Results) Head(name string) (Result, error) {
	res, file, _, err := r.open(name)
	if err != nil {
		return res, err
	}
	return res, file.Close()
}

// Load reads a result and its rows.
func (r Results) Load(name string) (Result, []byte, error) {
	res, file, in, err := r.open(name)
	if err != nil {
		return res, nil, err
	}
	defer file.Close()
	rows, err := io.ReadAll(io.LimitReader(in, protocol.MaxSectionBytes+1))
	if err != nil {
		return res, nil, fmt.Errorf("read the result of module %s: %w", name, err)
	}
	sum := sha256.Sum256(rows)
	if res.SHA256 != "" && hex.EncodeToString(sum[:]) != res.SHA256 || res.SHA256 == "" && len(rows) > 0 {
		return res, nil, damaged(name)
	}
	return res, rows, nil
}

func (r Results) open(name string) (Result, io.Closer, io.Reader, error) {
	var res Result
	file, err := os.Open(r.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return res, nil, nil, fault.New(fault.NotFound, "module %s has no result yet", name)
	}
	if err != nil {
		return res, nil, nil, fmt.Errorf("read the result of module %s: %w", name, err)
	}
	in := bufio.NewReaderSize(file, maxHead)
	head, err := in.ReadSlice('\n')
	if err == nil {
		err = json.Unmarshal(bytes.TrimSpace(head), &res)
	}
	if err != nil || res.Module != name || res.ID == "" || protocol.ValidateColumns(res.Columns) != nil {
		file.Close()
		return Result{}, nil, nil, damaged(name)
	}
	return res, file, in, nil
}

func damaged(name string) error {
	return fault.New(fault.NotFound, "the result of module %s is damaged", name)
}

// Names lists the modules of which there are results.
func (r Results) Names() ([]string, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the results of modules: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), resultExt); ok && protocol.ValidModule(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// Remove forgets a module.
func (r Results) Remove(name string) error {
	if err := errors.Join(os.RemoveAll(r.path(name)), os.RemoveAll(r.WorkDir(name))); err != nil {
		return fmt.Errorf("remove the result of module %s: %w", name, err)
	}
	return nil
}
