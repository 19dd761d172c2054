package event_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/event"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

type env struct {
	t     testing.TB
	db    *store.DB
	s     *event.Service
	heard []hub.Event
}

func newEnv(t testing.TB, db *store.DB) *env {
	e := &env{t: t, db: db}
	e.s = event.New(event.Options{
		DB: db, Log: slog.New(slog.DiscardHandler), Notify: func(h hub.Event) { e.heard = append(e.heard, h) }, SilentAfter: time.Hour, Keep: 48 * time.Hour,
	})
	return e
}

func (e *env) device(hostname, state string, seen time.Time) string {
	e.t.Helper()
	id := uuid.NewString()
	sum := sha256.Sum256([]byte(id))
	require.NoError(e.t, e.db.Table("devices").Create(map[string]any{
		"id": id, "state": state, "hostname": hostname, "os": "linux", "os_name": "", "os_version": "", "arch": "",
		"agent_version": "", "nonce": hex.EncodeToString(sum[:]), "secret_sha256": "", "next_sha256": "", "machine_id": "", "seen_machine_id": "",
		"instance_id": "", "past_instances": "", "quarantine_reason": "", "trust_version": 1, "facts": "{}", "facts_changed_at": seen,
		"token_id": id, "enrolled_from": "", "enrolled_at": seen, "last_seen_at": seen, "updated_at": seen,
	}).Error)
	return id
}

// add keeps events as a feature does.
func (e *env) add(now time.Time, events ...event.Event) {
	e.t.Helper()
	require.NoError(e.t, e.db.Tx(context.Background(), func(tx *gorm.DB) error {
		_, err := event.Add(tx, now, events)
		return err
	}))
}

// list shows events, oldest first, as "kind host".
func (e *env) list(f event.Filter) []string {
	e.t.Helper()
	if f.Limit == 0 {
		f.Limit = 1000
	}
	found, err := e.s.List(context.Background(), f)
	require.NoError(e.t, err)
	out := []string{}
	for _, v := range slices.Backward(found) {
		out = append(out, v.Kind+" "+v.Hostname)
	}
	return out
}

func TestWatch_tellsOnceOfSilenceAndOnceOfReturn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		now := store.Now()
		old := now.Add(-2 * time.Hour)
		silent := e.device("silent", protocol.DeviceActive, old)
		e.device("seen", protocol.DeviceActive, now.Add(-time.Minute))
		e.device("pending", protocol.DevicePending, old)
		e.device("revoked", protocol.DeviceRevoked, old)
		e.device("quarantined", protocol.DeviceQuarantined, old)
		for range 3 {
			require.NoError(t, e.s.Watch(t.Context(), now))
		}
		told := e.list(event.Filter{})
		slices.Sort(told)
		require.Equal(t, []string{"device_silent quarantined", "device_silent silent"}, told)
		require.Len(t, e.heard, 2)
		require.Equal(t, "event", e.heard[0].Type)

		require.NoError(t, db.Exec("UPDATE devices SET last_seen_at = ? WHERE id = ?", now, silent).Error)
		require.NoError(t, db.Exec("UPDATE devices SET state = 'revoked' WHERE hostname = 'quarantined'").Error)
		for range 3 {
			require.NoError(t, e.s.Watch(t.Context(), now))
		}
		require.Equal(t, []string{"device_silent silent", "device_back silent"}, e.list(event.Filter{DeviceID: silent}))
		require.Len(t, e.list(event.Filter{}), 3, "nothing is expected of a revoked device")

		require.NoError(t, e.s.Watch(t.Context(), now.Add(90*time.Minute)))
		require.Equal(t, []string{"device_silent silent", "device_back silent", "device_silent silent"}, e.list(event.Filter{DeviceID: silent}))
	})
}

func TestWatch_manyDevices(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		now := store.Now()
		for i := range 230 { // more than one step takes
			e.device(fmt.Sprint("pc", i), protocol.DeviceActive, now.Add(-2*time.Hour))
		}
		require.NoError(t, e.s.Watch(t.Context(), now))
		require.Len(t, e.list(event.Filter{Kinds: []string{event.DeviceSilent}}), 230)
	})
}

// Of two nodes that look at the same time one tells of each device.
func TestWatch_twoNodesTellOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		nodes := []*env{newEnv(t, db), newEnv(t, db), newEnv(t, db)}
		now := store.Now()
		for i := range 30 {
			nodes[0].device(fmt.Sprint("pc", i), protocol.DeviceActive, now.Add(-2*time.Hour))
		}
		together := func() {
			var wg sync.WaitGroup
			for _, n := range nodes {
				wg.Go(func() {
					if err := n.s.Watch(context.Background(), now); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		together()
		require.Len(t, nodes[0].list(event.Filter{Kinds: []string{event.DeviceSilent}}), 30)
		require.NoError(t, db.Exec("UPDATE devices SET last_seen_at = ?", now).Error)
		together()
		require.Len(t, nodes[0].list(event.Filter{Kinds: []string{event.DeviceBack}}), 30)
		require.Len(t, slices.Concat(nodes[0].heard, nodes[1].heard, nodes[2].heard), 60)
	})
}

func TestList_filtersAndPages(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		now := store.Now()
		for i := range 7 {
			e.add(now.Add(time.Duration(i)*time.Minute), event.Event{
				DeviceID: fmt.Sprint("d", i%2), Hostname: fmt.Sprint("pc", i), Kind: []string{event.DiskLow, event.DiskRecovered, event.SoftwareAdded}[i%3],
				Subject: "Straße 7 %", Message: "something",
			})
		}
		require.Len(t, e.list(event.Filter{}), 7)
		require.Equal(t, []string{"disk_recovered pc1", "disk_low pc3", "software_added pc5"}, e.list(event.Filter{DeviceID: "d1"}))
		require.Equal(t, []string{"disk_low pc0", "disk_recovered pc1"}, e.list(event.Filter{Kinds: []string{event.DiskLow, event.DiskRecovered}, Until: now.Add(2 * time.Minute)}))
		require.Equal(t, []string{"disk_low pc6"}, e.list(event.Filter{Since: now.Add(5 * time.Minute), Kinds: []string{event.DiskLow}}))
		require.Equal(t, []string{"software_added pc2"}, e.list(event.Filter{Query: "PC2"}))
		require.Len(t, e.list(event.Filter{Query: "7 %"}), 7)
		require.Empty(t, e.list(event.Filter{Query: "7_%"}))
		var seen []string
		f := event.Filter{Limit: 3}
		for {
			page, err := e.s.List(t.Context(), f)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			for _, v := range page {
				seen = append(seen, v.Hostname)
			}
			f.Before = page[len(page)-1].ID
		}
		require.Equal(t, []string{"pc6", "pc5", "pc4", "pc3", "pc2", "pc1", "pc0"}, seen)
	})
}

func TestClean_removesWhatIsOld(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		now := store.Now()
		e.add(now.Add(-49*time.Hour), event.Event{DeviceID: "d", Hostname: "old", Kind: event.DiskLow})
		e.add(now.Add(-47*time.Hour), event.Event{DeviceID: "d", Hostname: "new", Kind: event.DiskLow})
		require.NoError(t, e.s.Clean(t.Context(), now))
		require.Equal(t, []string{"disk_low new"}, e.list(event.Filter{}))
	})
}

func TestBound_keepsTheNewestOfADevice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		for i := range 5 {
			e.add(store.Now(), event.Event{DeviceID: "d", Hostname: fmt.Sprint("d", i), Kind: event.DiskLow})
			e.add(store.Now(), event.Event{DeviceID: "x", Hostname: "x", Kind: event.DiskLow})
		}
		for range 2 {
			require.NoError(t, db.Tx(t.Context(), func(tx *gorm.DB) error { return event.Bound(tx, "d", 2) }))
		}
		require.Equal(t, []string{"disk_low d3", "disk_low d4"}, e.list(event.Filter{DeviceID: "d"}))
		require.Len(t, e.list(event.Filter{DeviceID: "x"}), 5)
	})
}

func TestDeviceChanged(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := newEnv(t, db)
		id := e.device("pc", protocol.DeviceActive, store.Now())
		for _, state := range []string{protocol.DevicePending, protocol.DeviceActive, protocol.DeviceQuarantined, protocol.DeviceRevoked} {
			e.s.DeviceChanged(t.Context(), device.Change{DeviceID: id, State: state})
		}
		e.s.DeviceChanged(t.Context(), device.Change{DeviceID: uuid.NewString(), State: protocol.DeviceActive})
		require.Equal(t, []string{"device_approved pc", "device_quarantined pc", "device_revoked pc"}, e.list(event.Filter{}))
		require.Len(t, e.heard, 3)
	})
}
