package device

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/text"
	"github.com/muster/muster/server/internal/versionkey"
)

// chunk bounds the ids in one statement.
const chunk = 500

type deviceStore struct {
	db     *store.DB
	groups Groups // may be nil
}

type deviceRow struct {
	ID               string `gorm:"primaryKey"`
	State            string
	Hostname         string
	OS               string `gorm:"column:os"`
	OSName           string `gorm:"column:os_name"`
	OSVersion        string `gorm:"column:os_version"`
	Arch             string
	AgentVersion     string
	Nonce            string
	SecretSHA256     string `gorm:"column:secret_sha256"`
	NextSHA256       string `gorm:"column:next_sha256"`
	PreviousSHA256   string `gorm:"column:previous_sha256"`
	MachineID        string
	SeenMachineID    string
	SeenSecretSHA256 string `gorm:"column:seen_secret_sha256"`
	InstanceID       string
	PastInstances    string
	QuarantineReason string
	TrustVersion     int
	Facts            string
	FactsChangedAt   time.Time
	TokenID          string
	EnrolledFrom     string
	EnrolledAt       time.Time
	LastSeenAt       *time.Time
	UpdatedAt        time.Time
	OpenTasks        int // kept by package task
	Manufacturer     string
	Product          string
	Virtualisation   string
	AgentVersionKey  string // sorts as versions do

	// Kept by package devicelog.
	LogLevel       string // empty: LogGroupLevel
	LogUntil       *time.Time
	LogAfter       string // empty: LogGroupLevel
	LogFollowUntil *time.Time
	LogSetBy       string
	LogGroupLevel  string // kept by package group: of the device's groups, and holds while LogLevel is empty
}

func (deviceRow) TableName() string { return "devices" }

func newRow(id string, f protocol.Facts, facts string, now time.Time) deviceRow {
	return deviceRow{
		ID: id, Hostname: f.Hostname, OS: f.OS, OSName: f.OSName, OSVersion: f.OSVersion, Arch: f.Arch,
		AgentVersion: f.AgentVersion, MachineID: f.MachineID, Facts: facts, FactsChangedAt: f.ChangedAt,
		EnrolledAt: now, LastSeenAt: &now, UpdatedAt: now,
		Manufacturer: f.Manufacturer, Product: f.Product, Virtualisation: f.Virtualisation, AgentVersionKey: versionkey.OfRelease(f.AgentVersion),
	}
}

func (r deviceRow) device() Device {
	return Device{
		ID: r.ID, State: r.State, Hostname: r.Hostname, OS: r.OS, OSName: r.OSName, OSVersion: r.OSVersion,
		Arch: r.Arch, AgentVersion: r.AgentVersion, TrustVersion: r.TrustVersion, QuarantineReason: r.QuarantineReason,
		EnrolledAt: r.EnrolledAt, LastSeenAt: r.LastSeenAt, OpenTasks: r.OpenTasks,
		Log: r.logSetting(store.Now()), LogSetBy: r.LogSetBy, LogOwn: r.logOwn(),
		machineID: r.MachineID, instanceID: r.InstanceID, pastInstances: strings.Fields(r.PastInstances),
	}
}

// logOwn is the level that is set on the device itself, as it holds when no time runs.
func (r deviceRow) logOwn() string {
	if r.LogUntil != nil {
		return r.LogAfter
	}
	return r.LogLevel
}

// logSetting is what of the row holds at this time: what has run out by then is left out. What is not set on the
// device itself its groups say.
func (r deviceRow) logSetting(now time.Time) *protocol.LogSetting {
	groups := cmp.Or(r.LogGroupLevel, protocol.LogOff)
	l := protocol.LogSetting{Level: cmp.Or(r.LogLevel, groups), Until: r.LogUntil, After: cmp.Or(r.LogAfter, groups), Follow: r.LogFollowUntil}
	if l.Until == nil || !now.Before(*l.Until) {
		l.Level, l.Until, l.After = l.At(now), nil, ""
	}
	if l.Follow != nil && !now.Before(*l.Follow) {
		l.Follow = nil
	}
	if l == (protocol.LogSetting{Level: protocol.LogOff}) {
		return nil
	}
	return &l
}

func (s *deviceStore) first(ctx context.Context, id string, omit ...string) (deviceRow, error) {
	var row deviceRow
	err := s.db.Hot(ctx).Omit(omit...).Where("id = ?", id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return row, fault.New(fault.NotFound, "there is no device %q", id)
	}
	if err != nil {
		return row, fmt.Errorf("read device: %w", err)
	}
	return row, nil
}

func (s *deviceStore) get(ctx context.Context, id string) (deviceRow, error) { return s.first(ctx, id) }

// credentials is the hot read of every contact: one row by key, without the large column.
func (s *deviceStore) credentials(ctx context.Context, id string) (deviceRow, error) {
	return s.first(ctx, id, "facts")
}

func (s *deviceStore) update(ctx context.Context, what string, cond *gorm.DB, values map[string]any) (bool, error) {
	values["updated_at"] = store.Now()
	res := s.db.With(ctx).Model(&deviceRow{}).Where(cond).Updates(values)
	if res.Error != nil {
		return false, fmt.Errorf("%s: %w", what, res.Error)
	}
	return res.RowsAffected > 0, nil
}

func (s *deviceStore) where(query string, args ...any) *gorm.DB {
	return s.db.Session(&gorm.Session{NewDB: true}).Where(query, args...)
}

// promote makes row's next secret the present one; the present one is remembered as the previous.
func (s *deviceStore) promote(ctx context.Context, row deviceRow) error {
	_, err := s.update(ctx, "take next secret into use",
		s.where("id = ? AND next_sha256 = ? AND secret_sha256 = ?", row.ID, row.NextSHA256, row.SecretSHA256),
		map[string]any{"secret_sha256": row.NextSHA256, "next_sha256": "", "previous_sha256": row.SecretSHA256})
	return err
}

func (s *deviceStore) announce(ctx context.Context, id, next string) error {
	_, err := s.update(ctx, "announce next secret", s.where("id = ? AND secret_sha256 <> ?", id, next),
		map[string]any{"next_sha256": next})
	return err
}

// approve reports whether the device was not active before.
func (s *deviceStore) approve(ctx context.Context, id string) (bool, error) {
	row, err := s.credentials(ctx, id)
	if err != nil {
		return false, err
	}
	switch {
	case row.State == protocol.DeviceActive:
		return false, nil
	case gone(row.State):
		return false, fault.New(fault.Conflict, "device %s is %s for good; enroll it again", id, row.State)
	}
	values := map[string]any{
		"state": protocol.DeviceActive, "quarantine_reason": "", "instance_id": "", "past_instances": "",
		"seen_machine_id": "", "seen_secret_sha256": "",
	}
	if row.SeenMachineID != "" {
		values["machine_id"] = row.SeenMachineID
	}
	if row.SeenSecretSHA256 != "" {
		values["secret_sha256"], values["next_sha256"], values["previous_sha256"] = row.SeenSecretSHA256, "", row.SecretSHA256
	}
	return s.update(ctx, "approve device",
		s.where("id = ? AND state = ? AND secret_sha256 = ?", id, row.State, row.SecretSHA256), values)
}

func (s *deviceStore) revoke(ctx context.Context, id string) (bool, error) {
	if _, err := s.credentials(ctx, id); err != nil {
		return false, err
	}
	return s.update(ctx, "revoke device", s.where("id = ? AND state NOT IN ?", id, goneStates()),
		map[string]any{"state": protocol.DeviceRevoked, "next_sha256": ""})
}

// evidence is what gave the other copy of a device away. Approve makes it the device's own.
type evidence struct {
	machine string
	secret  string // SHA-256
}

func (s *deviceStore) quarantine(ctx context.Context, id string, seen evidence, reason string) (bool, error) {
	return s.update(ctx, "quarantine device",
		s.where("id = ? AND state IN ?", id, []string{protocol.DeviceActive, protocol.DevicePending}),
		map[string]any{
			"state": protocol.DeviceQuarantined, "quarantine_reason": text.Clean(reason, 500),
			"seen_machine_id": seen.machine, "seen_secret_sha256": seen.secret,
		})
}

// instanceNote is the instance of a device's agent that checked in last, and those before it.
type instanceNote struct {
	id, instance string
	past         []string
}

// setInstances remembers many at once: after a power cut all agents start at the same time.
func (s *deviceStore) setInstances(ctx context.Context, notes []instanceNote) error {
	now := store.Now()
	err := s.db.Tx(ctx, func(tx *gorm.DB) error {
		for _, n := range notes {
			values := map[string]any{"instance_id": n.instance, "past_instances": strings.Join(n.past, " "), "updated_at": now}
			if err := tx.Model(&deviceRow{}).Where("id = ?", n.id).UpdateColumns(values).Error; err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remember agent instances: %w", err)
	}
	return nil
}

func (s *deviceStore) setMachine(ctx context.Context, id, machine string) error {
	_, err := s.update(ctx, "remember machine id", s.where("id = ? AND machine_id = ''", id), map[string]any{"machine_id": machine})
	return err
}

func (s *deviceStore) updateFacts(ctx context.Context, id string, f protocol.Facts, facts string) (bool, error) {
	return s.update(ctx, "write facts", s.where("id = ? AND facts_changed_at <= ?", id, f.ChangedAt), map[string]any{
		"hostname": f.Hostname, "os": f.OS, "os_name": f.OSName, "os_version": f.OSVersion, "arch": f.Arch,
		"facts": facts, "facts_changed_at": f.ChangedAt,
		"manufacturer": f.Manufacturer, "product": f.Product, "virtualisation": f.Virtualisation,
	})
}

// writeSeen writes a batch of sightings: one statement for all that only came by, one each for those
// whose versions changed; and what the agents cost, many with one statement.
func (s *deviceStore) writeSeen(ctx context.Context, batch map[string]sighting) error {
	var plain []string
	var newest time.Time
	for id, seen := range batch {
		if !seen.changed {
			plain = append(plain, id)
			if seen.at.After(newest) {
				newest = seen.at
			}
		}
	}
	slices.Sort(plain) // all who lock several devices take them in the order of their ids
	err := s.db.Tx(ctx, func(tx *gorm.DB) error {
		for part := range chunks(plain) {
			if err := tx.Model(&deviceRow{}).Where("id IN ?", part).UpdateColumn("last_seen_at", newest).Error; err != nil {
				return err
			}
		}
		for id, seen := range batch {
			if !seen.changed {
				continue
			}
			values := map[string]any{"last_seen_at": seen.at, "trust_version": seen.trust}
			if seen.agent != "" {
				values["agent_version"], values["agent_version_key"] = seen.agent, versionkey.OfRelease(seen.agent)
			}
			if err := tx.Model(&deviceRow{}).Where("id = ?", id).UpdateColumns(values).Error; err != nil {
				return err
			}
		}
		return writeFootprints(tx, batch)
	})
	if err != nil {
		return fmt.Errorf("write last-seen times: %w", err)
	}
	return nil
}

type footprintRow struct {
	DeviceID      string `gorm:"primaryKey"`
	ReportedAt    time.Time
	Since         time.Time
	CPUMS         int64 `gorm:"column:cpu_ms"`
	RSSBytes      int64 `gorm:"column:rss_bytes"`
	RSSHighBytes  int64 `gorm:"column:rss_high_bytes"`
	TaskHighBytes int64
	SentBytes     int64
	ReceivedBytes int64
}

func (footprintRow) TableName() string { return "device_footprints" }

// footprint reads what the agent told last; nil when it has told nothing.
func (s *deviceStore) footprint(ctx context.Context, id string) (*Footprint, error) {
	var r footprintRow
	err := s.db.With(ctx).Where("device_id = ?", id).Take(&r).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read footprint: %w", err)
	}
	return &Footprint{ReportedAt: r.ReportedAt, Footprint: protocol.Footprint{
		Since: r.Since, CPUMS: r.CPUMS, RSSBytes: r.RSSBytes, RSSHighBytes: r.RSSHighBytes, TaskHighBytes: r.TaskHighBytes,
		SentBytes: r.SentBytes, ReceivedBytes: r.ReceivedBytes,
	}}, nil
}

// footprintsAtOnce is how many rows one statement writes.
const footprintsAtOnce = 200

// writeFootprints writes those that a batch of sightings brought, many with one statement.
func writeFootprints(tx *gorm.DB, batch map[string]sighting) error {
	var told []footprintRow
	for id, seen := range batch {
		if f := seen.footprint; f != nil {
			told = append(told, footprintRow{
				DeviceID: id, ReportedAt: f.ReportedAt, Since: f.Since, CPUMS: f.CPUMS, RSSBytes: f.RSSBytes, RSSHighBytes: f.RSSHighBytes,
				TaskHighBytes: f.TaskHighBytes, SentBytes: f.SentBytes, ReceivedBytes: f.ReceivedBytes,
			})
		}
	}
	if len(told) == 0 {
		return nil
	}
	slices.SortFunc(told, func(a, b footprintRow) int { return strings.Compare(a.DeviceID, b.DeviceID) }) // two nodes lock in one order
	return tx.Clauses(clause.OnConflict{UpdateAll: true}).CreateInBatches(told, footprintsAtOnce).Error
}

// chunks cuts ids into parts that fit one statement.
func chunks(ids []string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for len(ids) > 0 {
			n := min(chunk, len(ids))
			if !yield(ids[:n]) {
				return
			}
			ids = ids[n:]
		}
	}
}

func (s *deviceStore) targets(ctx context.Context, ids []string) ([]Target, error) {
	var all []Target
	for part := range chunks(ids) {
		var found []Target
		if err := s.db.With(ctx).Model(&deviceRow{}).Select("id, hostname, state").Where("id IN ?", part).Find(&found).Error; err != nil {
			return nil, fmt.Errorf("read devices: %w", err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func (s *deviceStore) allTargets(ctx context.Context) ([]Target, error) {
	var all []Target
	err := s.db.With(ctx).Model(&deviceRow{}).Select("id, hostname, state").
		Where("state IN ?", []string{protocol.DeviceActive, protocol.DeviceQuarantined}).Order("id").Find(&all).Error
	if err != nil {
		return nil, fmt.Errorf("read devices: %w", err)
	}
	return all, nil
}

// filter narrows a list of devices. After holds the hostname and id of the last one seen.
type filter struct {
	search Search
	group  string
	below  int // trust version; 0 for all
	after  []string
	limit  int
}

func (s *deviceStore) list(ctx context.Context, f filter) ([]deviceRow, error) {
	tx := s.db.With(ctx).Scopes(f.search.Where(store.Now())).Order("hostname, id").Limit(f.limit)
	if f.group != "" {
		tx = tx.Where("EXISTS (SELECT 1 FROM group_members m WHERE m.group_id = ? AND m.device_id = devices.id AND m.member = ?)", f.group, true)
	}
	if f.below > 0 {
		tx = tx.Where("trust_version < ? AND state NOT IN ?", f.below, goneStates())
	}
	if f.after != nil {
		tx = tx.Where("(hostname > ? OR (hostname = ? AND id > ?))", f.after[0], f.after[0], f.after[1])
	}
	var rows []deviceRow
	if err := tx.Find(&rows).Error; err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	return rows, nil
}

// trustVersions counts the devices that are neither revoked nor removed by the trust document that they confirmed.
func (s *deviceStore) trustVersions(ctx context.Context) (map[int]int, error) {
	var found []struct{ TrustVersion, Devices int }
	err := s.db.With(ctx).Model(&deviceRow{}).Select("trust_version, COUNT(*) AS devices").
		Where("state NOT IN ?", goneStates()).Group("trust_version").Find(&found).Error
	if err != nil {
		return nil, fmt.Errorf("count devices by trust document: %w", err)
	}
	counts := map[int]int{}
	for _, f := range found {
		counts[f.TrustVersion] = f.Devices
	}
	return counts, nil
}
