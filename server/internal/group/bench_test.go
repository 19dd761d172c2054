package group_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/group"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

type nobody struct{}

func (nobody) Connected(string) bool { return false }
func (nobody) Notify(hub.Event)      {}

// BenchmarkFind looks for the members of 20 saved searches, half of them for a program of a version: after a
// change of one device, and among all of 5,000 devices with 200 programs each.
func BenchmarkFind(b *testing.B) {
	for _, dialect := range []string{store.SQLite} { // filling MariaDB takes minutes
		db := storetest.Open(b, dialect)
		fill(b, db, 5000, 200)
		s := group.New(group.Options{DB: db, Live: nobody{}, Log: slog.New(slog.DiscardHandler)})
		for i := range 20 {
			search := device.Search{OSVersion: "12", AgentBelow: fmt.Sprintf("1.%d.0", i), Query: "pc"}
			if i%2 == 0 {
				search = device.Search{OS: "linux", Software: fmt.Sprintf("program-%d", i), SoftwareBelow: fmt.Sprintf("1.%d-1", i)}
			}
			_, err := s.Create(b.Context(), group.Group{Name: fmt.Sprint(i), Search: &search}, nil, "ada")
			require.NoError(b, err)
		}
		b.Run(dialect+"/one", func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, s.FindAmong(b.Context(), fmt.Sprintf("%036d", 17)))
			}
		})
		b.Run(dialect+"/all", func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, s.Find(b.Context()))
			}
		})
	}
}

// fill makes devices with programs, of which the versions differ.
func fill(b *testing.B, db *store.DB, devices, programs int) {
	b.Helper()
	now := store.Now()
	var rows []map[string]any
	write := func(table string) {
		for len(rows) > 0 {
			n := min(500, len(rows))
			require.NoError(b, db.Table(table).Create(rows[:n]).Error)
			rows = rows[n:]
		}
	}
	for p := range programs {
		rows = append(rows, map[string]any{
			"id": p + 1, "identity": fmt.Sprintf("%064d", p), "source": "dpkg", "purl": "", "name": fmt.Sprintf("program-%d", p), "publisher": "",
			"summary": "", "devices": devices, "first_seen_at": now,
		})
	}
	write("software_titles")
	for p := range programs {
		for v := range 10 {
			rows = append(rows, map[string]any{
				"id": p*10 + v + 1, "identity": fmt.Sprintf("%064d", p*10+v), "title_id": p + 1, "version": fmt.Sprintf("1.%d-1", v),
				"version_key": fmt.Sprintf("00100010113%d", v), "devices": devices / 10, "first_seen_at": now,
			})
		}
	}
	write("software_versions")
	for d := range devices {
		id := fmt.Sprintf("%036d", d)
		rows = append(rows, map[string]any{
			"id": id, "state": "active", "hostname": fmt.Sprintf("pc-%d", d), "os": "linux", "os_name": "Debian GNU/Linux", "os_version": "12",
			"arch": "amd64", "agent_version": "1.5.0", "agent_version_key": "001000", "nonce": fmt.Sprintf("%064d", d), "secret_sha256": "",
			"next_sha256": "", "machine_id": "", "seen_machine_id": "", "instance_id": "", "past_instances": "", "quarantine_reason": "",
			"trust_version": 1, "facts": "{}", "facts_changed_at": now, "token_id": "", "enrolled_from": "", "enrolled_at": now, "last_seen_at": now,
			"updated_at": now,
		})
	}
	write("devices")
	for d := range devices {
		for p := range programs {
			rows = append(rows, map[string]any{
				"device_id": fmt.Sprintf("%036d", d), "software_key": fmt.Sprintf("pkg:deb/debian/program-%d@1", p), "title_id": p + 1,
				"version_id": p*10 + d%10 + 1, "size_bytes": 1, "arch": "amd64", "essential": false, "defect": "", "first_seen_at": now.Add(-time.Hour),
			})
		}
		if len(rows) > 10_000 {
			write("device_software")
		}
	}
	write("device_software")
}
