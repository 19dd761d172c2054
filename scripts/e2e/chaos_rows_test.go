//go:build linux

package e2e_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver" // the server's own database, read
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/scripts/chaos/verdict"
)

// serverRows reads the deployments with their attempts and timelines from the server's database.
func serverRows(t *testing.T, data string) []verdict.Deployment {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(data, "muster.db")+"?mode=rw&_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	defer db.Close()
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	require.NoError(t, err)
	defer tx.Rollback()
	var all []verdict.Deployment
	index := map[string]int{}
	query := func(text string, scan func(rows *sql.Rows) error) {
		rows, err := tx.QueryContext(t.Context(), text)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			require.NoError(t, scan(rows))
		}
		require.NoError(t, rows.Err())
	}
	query("SELECT id, device_id, package_id, state, reason, live FROM deployments ORDER BY id", func(rows *sql.Rows) error {
		var d verdict.Deployment
		err := rows.Scan(&d.ID, &d.Device, &d.Package, &d.State, &d.Reason, &d.Live)
		index[d.ID] = len(all)
		all = append(all, d)
		return err
	})
	query("SELECT id, deployment_id, number, state, exit_code FROM deployment_attempts ORDER BY deployment_id, number", func(rows *sql.Rows) error {
		var a verdict.Attempt
		var of string
		err := rows.Scan(&a.ID, &of, &a.Number, &a.State, &a.ExitCode)
		d := &all[index[of]]
		d.Attempts = append(d.Attempts, a)
		return err
	})
	query("SELECT deployment_id, seq, COALESCE(report_id, ''), source, attempt, state, reason, message FROM deployment_timeline ORDER BY deployment_id, seq", func(rows *sql.Rows) error {
		var e verdict.Entry
		var of string
		err := rows.Scan(&of, &e.Seq, &e.Report, &e.Source, &e.Attempt, &e.State, &e.Reason, &e.Message)
		d := &all[index[of]]
		d.Timeline = append(d.Timeline, e)
		return err
	})
	return all
}

// journals reads the journals of an agent's attempts.
func journals(t *testing.T, n *node) []verdict.Journal {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(n.data, "servers", "*", "attempts", "*", "journal"))
	require.NoError(t, err)
	var all []verdict.Journal
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		j := verdict.Journal{Device: n.device, Attempt: filepath.Base(filepath.Dir(path))}
		for line := range bytes.Lines(data) {
			if !bytes.HasSuffix(line, []byte("\n")) || len(line) < 20 {
				continue // being written
			}
			var record struct {
				Report struct {
					ID         string    `json:"id"`
					Time       time.Time `json:"time"`
					Deployment struct {
						State string `json:"state"`
					} `json:"deployment"`
				} `json:"report"`
			}
			require.NoError(t, json.Unmarshal(line[18:], &record), "%s", path)
			j.Records = append(j.Records, verdict.Record{ID: record.Report.ID, State: record.Report.Deployment.State, Time: record.Report.Time})
		}
		all = append(all, j)
	}
	return all
}

// ledger reads what the commands themselves wrote.
func ledger(t *testing.T, path string) []verdict.Run {
	t.Helper()
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	var runs []verdict.Run
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		require.Len(t, fields, 4, "a line of the ledger: %q", line)
		pid, err := strconv.Atoi(fields[2])
		require.NoError(t, err)
		ns, err := strconv.ParseInt(fields[3], 10, 64)
		require.NoError(t, err)
		runs = append(runs, verdict.Run{Attempt: fields[1], PID: pid, Time: time.Unix(0, ns), Ended: fields[0] == "end"})
	}
	return runs
}
