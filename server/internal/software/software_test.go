package software_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/software"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

type env struct {
	t    testing.TB
	db   *store.DB
	s    *software.Service
	mu   sync.Mutex
	seen map[string]bool // devices that have sent a list
}

func newEnv(t testing.TB, db *store.DB) *env {
	return &env{t: t, db: db, s: software.New(software.Options{DB: db, Log: slog.New(slog.DiscardHandler)}), seen: map[string]bool{}}
}

func (e *env) device(hostname string) string {
	e.t.Helper()
	now := store.Now()
	id := uuid.NewString()
	sum := sha256.Sum256([]byte(id))
	require.NoError(e.t, e.db.Table("devices").Create(map[string]any{
		"id": id, "state": protocol.DeviceActive, "hostname": hostname, "os": "linux", "os_name": "", "os_version": "", "arch": "",
		"agent_version": "", "nonce": hex.EncodeToString(sum[:]), "secret_sha256": "", "next_sha256": "", "machine_id": "", "seen_machine_id": "",
		"instance_id": "", "past_instances": "", "quarantine_reason": "", "trust_version": 1, "facts": "{}", "facts_changed_at": now,
		"token_id": id, "enrolled_from": "", "enrolled_at": now, "last_seen_at": now, "updated_at": now,
	}).Error)
	return id
}

func program(name, version string) protocol.Software {
	return protocol.Software{
		Row: protocol.Row{Key: "pkg:deb/debian/" + name + "@" + version, Name: name}, Version: version, Source: "dpkg", Arch: "amd64", Publisher: "Debian",
	}
}

// report makes programs what the device has.
func (e *env) report(device string, programs ...protocol.Software) error {
	return e.reportPart(device, nil, programs...)
}

// reportPart does so with a list that is not whole.
func (e *env) reportPart(device string, incomplete []string, programs ...protocol.Software) error {
	ctx, now := context.Background(), store.Now()
	list, err := e.s.Prepare(ctx, programs, now)
	if err != nil {
		return err
	}
	e.mu.Lock()
	baseline := !e.seen[device]
	e.seen[device] = true
	e.mu.Unlock()
	return e.db.Tx(ctx, func(tx *gorm.DB) error {
		if err := software.Lock(tx, device); err != nil {
			return err
		}
		_, err := software.Replace(tx, device, list, software.How{Baseline: baseline, Incomplete: incomplete}, now)
		return err
	})
}

// titles are listed as "name: devices".
func (e *env) titles(f software.Filter) []string {
	e.t.Helper()
	f.Limit = 100
	found, err := e.s.List(context.Background(), f)
	require.NoError(e.t, err)
	out := []string{}
	for _, t := range found {
		out = append(out, fmt.Sprint(t.Name, ": ", t.Devices))
	}
	return out
}

// requireTrueCounts compares the kept counts with the rows that they count.
func (e *env) requireTrueCounts() {
	e.t.Helper()
	for _, c := range []struct{ table, column string }{{"software_titles", "title_id"}, {"software_versions", "version_id"}} {
		var wrong int64
		err := e.db.Table(c.table + " AS c").
			Where("c.devices <> (SELECT COUNT(DISTINCT s.device_id) FROM device_software s WHERE s." + c.column + " = c.id)").Count(&wrong).Error
		require.NoError(e.t, err)
		require.Zero(e.t, wrong, c.table)
	}
}

// A source that cannot be read for once makes no programs disappear.
func TestReplace_keepsWhatCouldNotBeLookedAt(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		a := e.device("a")
		snap := protocol.Software{Row: protocol.Row{Key: "pkg:generic/firefox@1?source=snap", Name: "firefox"}, Version: "1", Source: "snap"}
		require.NoError(t, e.report(a, program("curl", "1"), program("vim", "9"), snap))
		require.NoError(t, e.reportPart(a, []string{"snap"}, program("curl", "1")))
		require.Equal(t, []string{"curl: 1", "firefox: 1"}, e.titles(software.Filter{}), "vim is gone, whose source was read")
		require.NoError(t, e.reportPart(a, []string{"dpkg"}, program("curl", "2"), snap))
		require.Equal(t, []string{"curl: 1", "firefox: 1"}, e.titles(software.Filter{}))
		missing, err := e.s.Reported(t.Context(), a, []string{program("curl", "1").Key, program("curl", "2").Key})
		require.NoError(t, err)
		require.Equal(t, []string{program("curl", "1").Key}, missing, "another version takes its place")
		require.NoError(t, e.report(a, program("curl", "2")))
		require.Equal(t, []string{"curl: 1"}, e.titles(software.Filter{}))
		e.requireTrueCounts()
	})
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		a, b := e.device("a"), e.device("b")
		require.NoError(t, e.report(a, program("curl", "1"), program("curl", "2"), program("vim", "9")))
		require.NoError(t, e.report(b, program("curl", "2"), program("zsh", "5")))
		require.Equal(t, []string{"curl: 2", "vim: 1", "zsh: 1"}, e.titles(software.Filter{}))
		require.Equal(t, []string{"curl: 2", "vim: 1", "zsh: 1"}, e.titles(software.Filter{ByDevices: true}))
		require.Equal(t, []string{"zsh: 1"}, e.titles(software.Filter{Query: "ZS"}))
		require.Empty(t, e.titles(software.Filter{Source: "rpm"}))

		// An update, a removal, a new one; the rest stays as it is.
		condition := program("vim", "9")
		condition.Condition, condition.SizeBytes = "half-configured", 7
		require.NoError(t, e.report(a, program("curl", "2"), condition, program("zsh", "5")))
		require.NoError(t, e.report(b, program("curl", "3")))
		e.requireTrueCounts()
		require.Equal(t, []string{"curl: 2", "vim: 1", "zsh: 1"}, e.titles(software.Filter{}))
		require.NoError(t, e.report(a, program("curl", "2"), condition))
		require.Equal(t, []string{"curl: 2", "vim: 1"}, e.titles(software.Filter{}), "what nobody has is hidden")
		require.Equal(t, []string{"curl: 2", "vim: 1", "zsh: 0"}, e.titles(software.Filter{Unused: true}))
		e.requireTrueCounts()

		found, err := e.s.List(t.Context(), software.Filter{Query: "curl", Limit: 1})
		require.NoError(t, err)
		id := fmt.Sprint(found[0].ID)
		title, versions, err := e.s.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, "pkg:deb/debian/curl", title.PURL)
		require.Len(t, versions, 3)
		require.Equal(t, 1, versions[0].Devices)
		require.Zero(t, versions[2].Devices)
		two := "2"
		has, err := e.s.Devices(t.Context(), id, software.DevicesFilter{Version: &two, Limit: 10})
		require.NoError(t, err)
		require.Len(t, has, 1)
		require.Equal(t, "a", has[0].Hostname)
		mine, err := e.s.OfDevice(t.Context(), a, software.DeviceFilter{Query: "vi", Limit: 10})
		require.NoError(t, err)
		require.Len(t, mine, 1)
		require.Equal(t, "half-configured", mine[0].Defect)
		require.EqualValues(t, 7, mine[0].SizeBytes)

		history, err := e.s.DeviceHistory(t.Context(), a, "", 10)
		require.NoError(t, err)
		told := []string{}
		for _, c := range history {
			told = append(told, fmt.Sprintf("%s %s: %s -> %s", c.Kind, c.Name, c.From, c.To))
		}
		require.Equal(t, []string{"removed zsh: 5 -> ", "added zsh:  -> 5", "removed curl: 1 -> "}, told, "newest first, without the baseline")
		history, err = e.s.History(t.Context(), id, "", 10)
		require.NoError(t, err)
		require.Len(t, history, 2)
		require.Equal(t, "b", history[0].Hostname)
		require.Equal(t, "3", history[0].To)

		missing, err := e.s.Reported(t.Context(), a, []string{"pkg:deb/debian/curl@2", "pkg:deb/debian/curl@1", "x"})
		require.NoError(t, err)
		require.Equal(t, []string{"pkg:deb/debian/curl@1", "x"}, missing)

		for _, unknown := range []string{"0", "x", "01", "-1", "99999999999999999999", uuid.NewString()} {
			_, _, err = e.s.Get(t.Context(), unknown)
			require.Equal(t, fault.NotFound, fault.CodeOf(err), unknown)
		}
		_, err = e.s.OfDevice(t.Context(), uuid.NewString(), software.DeviceFilter{Limit: 1})
		require.Equal(t, fault.NotFound, fault.CodeOf(err))
	})
}

// Pages of any size, in either order, show each title once.
func TestCatalogue_pages(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		a, b := e.device("a"), e.device("b")
		var programs []protocol.Software
		for i := range 23 {
			p := program(fmt.Sprintf("p%02d", i%20), "1")
			p.Key += fmt.Sprint("?", i)
			p.Source = fmt.Sprint("s", i%2)
			programs = append(programs, p)
		}
		require.NoError(t, e.report(a, programs...))
		require.NoError(t, e.report(b, programs[:7]...))
		e.requireTrueCounts()
		for _, byDevices := range []bool{false, true} {
			seen := map[int64]bool{}
			var after []string
			for {
				page, err := e.s.List(t.Context(), software.Filter{ByDevices: byDevices, After: after, Limit: 3})
				require.NoError(t, err)
				for _, p := range page {
					require.False(t, seen[p.ID])
					seen[p.ID] = true
				}
				if len(page) == 0 {
					break
				}
				last := page[len(page)-1]
				after = []string{fmt.Sprint(last.Devices), last.Name, fmt.Sprint(last.ID)}
			}
			require.Len(t, seen, 20)
		}
		_, err := e.s.List(t.Context(), software.Filter{ByDevices: true, After: []string{"x", "y", "z"}, Limit: 1})
		require.Equal(t, fault.Invalid, fault.CodeOf(err))
	})
}

// Many devices that bring the same unknown programs at the same time share their rows, and none fails.
func TestCatalogue_manyBringTheSameAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		const devices, programsEach, rounds = 5, 60, 2
		ids := make([]string, devices)
		for i := range ids {
			ids[i] = e.device(fmt.Sprint("pc", i))
			e.seen[ids[i]] = true
		}
		for round := range rounds {
			var wait sync.WaitGroup
			errs := make([]error, devices)
			for i, id := range ids {
				var programs []protocol.Software
				for n := range programsEach {
					// Each in an order of its own, half of them new in each round.
					k := (n*(2*i+1) + i) % programsEach
					programs = append(programs, program(fmt.Sprintf("p%03d", k), fmt.Sprint(k%2*round)))
				}
				seen := map[string]bool{}
				unique := programs[:0]
				for _, p := range programs {
					if !seen[p.Key] {
						seen[p.Key] = true
						unique = append(unique, p)
					}
				}
				wait.Go(func() { errs[i] = e.report(id, unique...) })
			}
			wait.Wait()
			for _, err := range errs {
				require.NoError(t, err)
			}
			e.requireTrueCounts()
		}
	})
}

func TestClean_revokedDevicesCountNoLonger(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		a, b := e.device("a"), e.device("b")
		require.NoError(t, e.report(a, program("curl", "1")))
		require.NoError(t, e.report(b, program("curl", "1")))
		require.NoError(t, e.report(b, program("curl", "2")))
		require.NoError(t, db.Exec("UPDATE devices SET state = 'revoked' WHERE id = ?", a).Error)
		require.NoError(t, e.s.Clean(t.Context(), store.Now()))
		require.Equal(t, []string{"curl: 1"}, e.titles(software.Filter{}))
		c := e.device("c")
		require.NoError(t, e.report(c, program("curl", "1")))
		e.s.DeviceChanged(t.Context(), device.Change{DeviceID: c, State: protocol.DeviceQuarantined})
		require.Equal(t, []string{"curl: 2"}, e.titles(software.Filter{}))
		e.s.DeviceChanged(t.Context(), device.Change{DeviceID: c, State: protocol.DeviceRemoved})
		require.Equal(t, []string{"curl: 1"}, e.titles(software.Filter{}))
		e.requireTrueCounts()
		history, err := e.s.DeviceHistory(t.Context(), a, "", 10)
		require.NoError(t, err)
		require.Empty(t, history, "nothing happened to its programs")

		d := e.device("d")
		require.NoError(t, e.report(d, program("vim", "1")))
		require.NoError(t, e.report(d, program("vim", "2")))
		require.NoError(t, db.Exec("UPDATE devices SET state = 'removed' WHERE id = ?", d).Error)
		for _, kept := range []struct{ days, changes int }{{89, 1}, {91, 0}} {
			require.NoError(t, e.s.Clean(t.Context(), store.Now().Add(time.Duration(kept.days)*24*time.Hour)))
			history, err = e.s.DeviceHistory(t.Context(), d, "", 10)
			require.NoError(t, err)
			require.Len(t, history, kept.changes)
		}
		history, err = e.s.DeviceHistory(t.Context(), b, "", 10)
		require.NoError(t, err)
		require.Len(t, history, 1)
		require.NoError(t, e.s.Clean(t.Context(), store.Now().Add(3*365*24*time.Hour)))
		history, err = e.s.DeviceHistory(t.Context(), b, "", 10)
		require.NoError(t, err)
		require.Empty(t, history, "kept for two years")
	})
}

// A device that invents programs fills neither the history nor the catalogue; what the history names stays.
func TestClean_removesWhatNobodyHasOrHad(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		a := e.device("a")
		require.NoError(t, e.report(a, program("curl", "1"), program("vim", "9")))
		require.NoError(t, e.report(a, program("curl", "2")))
		_, err := e.s.Prepare(t.Context(), []protocol.Software{program("never", "1"), program("curl", "7")}, store.Now())
		require.NoError(t, err)
		require.NoError(t, e.s.Clean(t.Context(), store.Now()))
		require.Equal(t, []string{"curl: 1", "never: 0", "vim: 0"}, e.titles(software.Filter{Unused: true}), "a list may be on its way")
		require.NoError(t, e.s.Clean(t.Context(), store.Now().Add(25*time.Hour)))
		require.Equal(t, []string{"curl: 1", "vim: 0"}, e.titles(software.Filter{Unused: true}))
		found, err := e.s.List(t.Context(), software.Filter{Query: "curl", Limit: 1})
		require.NoError(t, err)
		_, versions, err := e.s.Get(t.Context(), fmt.Sprint(found[0].ID))
		require.NoError(t, err)
		require.Len(t, versions, 2)

		// A list whose titles were removed meanwhile is refused for now; the next try brings them back.
		list, err := e.s.Prepare(t.Context(), []protocol.Software{program("late", "1")}, store.Now())
		require.NoError(t, err)
		require.NoError(t, e.s.Clean(t.Context(), store.Now().Add(25*time.Hour)))
		err = db.Tx(t.Context(), func(tx *gorm.DB) error {
			_, err := software.Replace(tx, a, list, software.How{}, store.Now())
			return err
		})
		require.Equal(t, fault.Unavailable, fault.CodeOf(err))
		require.NoError(t, e.report(a, program("late", "1")))
		e.requireTrueCounts()

		const digits = "(SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)"
		require.NoError(t, db.Exec("INSERT INTO software_history (id, device_id, title_id, kind, from_version, to_version, arch, time) "+
			"SELECT CONCAT('00000000-0000-7000-8000-00000000', a.n, b.n, c.n, d.n), ?, ?, ?, '', '1', '', ? "+
			"FROM "+digits+" a, "+digits+" b, "+digits+" c, "+digits+" d", a, found[0].ID, software.Added, store.Now()).Error)
		require.NoError(t, e.report(a, program("late", "2")))
		var n int64
		require.NoError(t, db.Table("software_history").Where("device_id = ?", a).Count(&n).Error)
		require.EqualValues(t, 10_000, n)
		newest, err := e.s.DeviceHistory(t.Context(), a, "", 1)
		require.NoError(t, err)
		require.Equal(t, "2", newest[0].To)
	})
}

// A device that comes first does not name the programs of others.
func TestCatalogue_nobodyNamesWhatOthersHave(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		hostile, honest := e.device("a"), e.device("b")
		renamed := program("openssl", "3")
		renamed.Name = "Nothing to see"
		require.NoError(t, e.report(hostile, renamed))
		require.NoError(t, e.report(honest, program("openssl", "3")))
		found, err := e.s.OfDevice(t.Context(), honest, software.DeviceFilter{Limit: 10})
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, "openssl", found[0].Name)
		require.Equal(t, []string{"Nothing to see: 1", "openssl: 1"}, e.titles(software.Filter{}))
		e.requireTrueCounts()
	})
}
