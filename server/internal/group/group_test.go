package group_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/group"
	"github.com/muster/muster/server/internal/hub"
	"github.com/muster/muster/server/internal/software"
	"github.com/muster/muster/server/internal/store"
	"github.com/muster/muster/server/internal/store/storetest"
)

// env is groups over real devices. Nothing runs by itself: a test says when searches find and members follow.
type env struct {
	*group.Service
	t       *testing.T
	db      *store.DB
	devices *device.Service
	wake    func() // called before devices are woken; set while nothing runs

	mu      sync.Mutex
	woken   []string
	updates []string // release and device
	fail    error    // of EnsureUpdate
	told    map[string]bool
}

func each(t *testing.T, fn func(t *testing.T, e *env)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { fn(t, newEnv(t, db)) })
}

func newEnv(t *testing.T, db *store.DB) *env {
	t.Helper()
	e := &env{t: t, db: db, told: map[string]bool{}}
	log := slog.New(slog.DiscardHandler)
	e.devices = device.New(device.Options{DB: db, Live: e, Groups: group.Tokens{}, Log: log})
	e.Service = group.New(group.Options{DB: db, Live: e, Log: log, Gather: time.Millisecond, Apply: group.Apply{
		Wake: func(ids []string) {
			if e.wake != nil {
				e.wake()
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			e.woken = append(e.woken, ids...)
		},
		Release: func(_ context.Context, id string) (string, error) {
			if id == "r9" {
				return "", fault.New(fault.NotFound, "no release")
			}
			return "2.0.0", nil
		},
		EnsureUpdate: func(_ context.Context, release string, ids []string) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			for _, id := range ids {
				e.updates = append(e.updates, release+" "+id)
			}
			return e.fail
		},
	}})
	e.devices.Subscribe(e.DeviceChanged)
	e.devices.Observe(e.Touched)
	return e
}

func (e *env) Connected(string) bool  { return false }
func (e *env) ConnectedIDs() []string { return nil }
func (e *env) Disconnect(string)      {}
func (e *env) Wake(string)            {}
func (e *env) Notify(ev hub.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told[ev.Type+" "+ev.ID] = true
}

// take returns what was asked for since the last time.
func (e *env) take() (woken, updates []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	woken, updates = e.woken, e.updates
	e.woken, e.updates = nil, nil
	return woken, updates
}

func (e *env) token(t device.Token) string {
	e.t.Helper()
	t.Name, t.ExpiresAt = "lab", time.Now().Add(time.Hour)
	_, secret, err := e.devices.CreateToken(e.t.Context(), t)
	require.NoError(e.t, err)
	return secret
}

// enroll admits a device, with facts that change may change.
func (e *env) enroll(secret, hostname string, change func(*protocol.Facts)) string {
	e.t.Helper()
	facts := protocol.Facts{
		Hostname: hostname, OS: "linux", OSName: "Debian GNU/Linux", OSVersion: "12", Arch: "amd64", AgentVersion: "1.0.0",
		Manufacturer: "Dell Inc.", Product: "Latitude 7440", ChangedAt: time.Now().Add(-time.Hour),
	}
	if change != nil {
		change(&facts)
	}
	d, err := e.devices.Enroll(e.t.Context(), protocol.EnrollRequest{
		Token: secret, Nonce: random(e.t), SecretSHA256: random(e.t), Facts: facts,
	}, "127.0.0.1")
	require.NoError(e.t, err)
	return d.ID
}

func random(t *testing.T) string {
	t.Helper()
	var b [32]byte
	_, err := rand.Read(b[:])
	require.NoError(t, err)
	return hex.EncodeToString(b[:])
}

func (e *env) create(g group.Group, devices ...string) group.Group {
	e.t.Helper()
	made, err := e.Create(e.t.Context(), g, devices, "ada")
	require.NoError(e.t, err)
	return made
}

func (e *env) delete(id string) error {
	_, err := e.Delete(e.t.Context(), id)
	return err
}

// members are the host names of a group's devices, as they are kept.
func (e *env) members(id string) []string {
	e.t.Helper()
	list, err := e.devices.List(e.t.Context(), device.Filter{Group: id, Limit: 1000})
	require.NoError(e.t, err)
	names := []string{}
	for _, d := range list {
		names = append(names, d.Hostname)
	}
	return names
}

// found are the host names of a group's devices, looked for now.
func (e *env) found(id string) []string {
	e.t.Helper()
	list, err := e.MemberList(e.t.Context(), id, group.MemberFilter{Limit: 1000})
	require.NoError(e.t, err)
	names := []string{}
	for _, m := range list {
		names = append(names, m.Hostname)
	}
	return names
}

func (e *env) level(id string) string {
	e.t.Helper()
	var level string
	require.NoError(e.t, e.db.Table("devices").Where("id = ?", id).Pluck("log_group_level", &level).Error)
	return level
}

func (e *env) bring() {
	e.t.Helper()
	require.NoError(e.t, e.Bring(e.t.Context()))
}

func (e *env) install(id string, programs ...protocol.Software) {
	e.t.Helper()
	ctx := e.t.Context()
	for i := range programs {
		p := &programs[i]
		p.Key, p.Source = fmt.Sprintf("pkg:deb/debian/%s@%s?arch=amd64", p.Name, p.Version), "dpkg"
	}
	list, err := software.New(software.Options{DB: e.db, Log: slog.New(slog.DiscardHandler)}).Prepare(ctx, programs, store.Now())
	require.NoError(e.t, err)
	require.NoError(e.t, writeSoftware(ctx, e.db, id, list))
	e.Touched(id)
}

func program(name, version string) protocol.Software {
	return protocol.Software{Row: protocol.Row{Name: name}, Version: version}
}

func ptr[T any](v T) *T { return &v }

func isCode(t *testing.T, want fault.Code, err error) {
	t.Helper()
	require.Equal(t, want, fault.CodeOf(err), "%v", err)
}

func TestStatic_membersComeAndGo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		secret := e.token(device.Token{})
		a, b, c := e.enroll(secret, "a", nil), e.enroll(secret, "b", nil), e.enroll(secret, "c", nil)
		g := e.create(group.Group{Name: " Lab ", Description: "room\x1b 3"}, a)
		require.Equal(t, "Lab", g.Name)
		require.Equal(t, group.Static, g.Kind)
		require.Equal(t, 1, g.Members)
		require.NotContains(t, g.Description, "\x1b")

		g, err := e.Add(ctx, g.ID, []string{b, a, c, c}, "bob")
		require.NoError(t, err)
		require.Equal(t, 3, g.Members)
		require.Equal(t, []string{"a", "b", "c"}, e.members(g.ID))
		list, err := e.MemberList(ctx, g.ID, group.MemberFilter{Limit: 10})
		require.NoError(t, err)
		require.Equal(t, "ada", list[0].AddedBy, "who was a member already stays as it was")
		require.Equal(t, "bob", list[1].AddedBy)
		next, err := e.MemberList(ctx, g.ID, group.MemberFilter{After: []string{"a", a}, Limit: 1})
		require.NoError(t, err)
		require.Equal(t, "b", next[0].Hostname)

		g, err = e.Remove(ctx, g.ID, []string{b, "nobody"})
		require.NoError(t, err)
		require.Equal(t, 2, g.Members)
		ids, err := e.Members(ctx, g.ID)
		require.NoError(t, err)
		require.Equal(t, sorted(a, c), ids)
		refs, err := e.Of(ctx, a)
		require.NoError(t, err)
		require.Equal(t, []device.GroupRef{{ID: g.ID, Name: "Lab", Kind: group.Static}}, refs)

		_, err = e.Add(ctx, g.ID, []string{b, "nobody"}, "ada")
		isCode(t, fault.NotFound, err)
		_, err = e.devices.Revoke(ctx, c)
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, e.members(g.ID), "a revoked device is in no group, and none was added with one that is not there")
		_, err = e.Add(ctx, g.ID, []string{c}, "ada")
		isCode(t, fault.Conflict, err)
		require.True(t, e.told["group "+g.ID])
	})
}

func sorted(ids ...string) []string { return slices.Sorted(slices.Values(ids)) }

func TestGroup_refusals(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		id := e.enroll(e.token(device.Token{}), "a", nil)
		list := e.create(group.Group{Name: "List"})
		saved := e.create(group.Group{Name: "Saved", Search: &device.Search{}})
		for name, c := range map[string]struct {
			make    group.Group
			devices []string
			want    fault.Code
		}{
			"name taken, in another case": {group.Group{Name: "LIST"}, nil, fault.Conflict},
			"no name":                     {group.Group{Name: " \t"}, nil, fault.Invalid},
			"unknown level":               {group.Group{Name: "x", LogLevel: "loud"}, nil, fault.Invalid},
			"unknown release":             {group.Group{Name: "x", ReleaseID: "r9"}, nil, fault.Invalid},
			"devices and a search":        {group.Group{Name: "x", Search: &device.Search{}}, []string{id}, fault.Invalid},
			"version of nothing":          {group.Group{Name: "x", Search: &device.Search{SoftwareBelow: "2"}}, nil, fault.Invalid},
			"a time without a year":       {group.Group{Name: "x", Search: &device.Search{SeenBefore: time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("west", -5*3600))}}, nil, fault.Invalid},
			"revoked devices":             {group.Group{Name: "x", Search: &device.Search{State: protocol.DeviceRevoked}}, nil, fault.Invalid},
			"unknown device":              {group.Group{Name: "x"}, []string{"nobody"}, fault.NotFound},
		} {
			_, err := e.Create(ctx, c.make, c.devices, "ada")
			require.Equal(t, c.want, fault.CodeOf(err), "%s: %v", name, err)
		}
		all, err := e.List(ctx, group.Filter{Limit: 10})
		require.NoError(t, err)
		require.Len(t, all, 2, "what was refused has left nothing")
		_, err = e.Alter(ctx, saved.ID, group.Change{Name: ptr("list")})
		isCode(t, fault.Conflict, err)
		_, err = e.Alter(ctx, list.ID, group.Change{Search: &device.Search{}})
		isCode(t, fault.Conflict, err)
		_, err = e.Add(ctx, saved.ID, []string{id}, "ada")
		isCode(t, fault.Conflict, err)
		_, err = e.Alter(ctx, "none", group.Change{})
		isCode(t, fault.NotFound, err)

		require.NoError(t, e.delete(list.ID))
		_, err = e.Get(ctx, list.ID)
		isCode(t, fault.NotFound, err)
		e.create(group.Group{Name: "list"}) // its name is free again
	})
}

func TestSearch_findsWhatItSays(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		secret := e.token(device.Token{})
		a := e.enroll(secret, "a", nil)
		e.enroll(secret, "b", func(f *protocol.Facts) {
			f.OSName, f.OSVersion, f.Arch, f.AgentVersion = "Ubuntu", "22.04.3", "arm64", "1.0.0-rc.1"
			f.Virtualisation, f.Manufacturer, f.Product = "kvm", "QEMU", "Standard PC"
		})
		c := e.enroll(secret, "c", func(f *protocol.Facts) {
			f.OS, f.OSName, f.OSVersion, f.AgentVersion = "windows", "Windows 11", "120", "1.10.0"
		})
		e.install(a, program("nano", "7.2-1"), program("openssl", "3.0.9-1"))
		e.install(c, program("nano", "7.10-1"))
		past := store.Now().AddDate(0, 0, -40)
		require.NoError(t, e.db.Exec("UPDATE devices SET last_seen_at = ?, enrolled_at = ? WHERE id = ?", past, past, c).Error)
		for name, tc := range map[string]struct {
			search device.Search
			want   []string
		}{
			"all":                  {device.Search{}, []string{"a", "b", "c"}},
			"text":                 {device.Search{Query: "UBUNTU"}, []string{"b"}},
			"state":                {device.Search{State: protocol.DevicePending}, []string{}},
			"system":               {device.Search{OS: "linux"}, []string{"a", "b"}},
			"name of the system":   {device.Search{OSName: "windows"}, []string{"c"}},
			"its version":          {device.Search{OSVersion: "12"}, []string{"a"}},
			"its version, in part": {device.Search{OSVersion: "22.04"}, []string{"b"}},
			"architecture":         {device.Search{Arch: "arm64"}, []string{"b"}},
			"agent":                {device.Search{AgentVersion: "1.0.0"}, []string{"a"}},
			"older agent":          {device.Search{AgentBelow: "1.0.0"}, []string{"b"}},
			"older agents":         {device.Search{AgentBelow: "1.9.0"}, []string{"a", "b"}},
			"maker":                {device.Search{Manufacturer: "dell"}, []string{"a", "c"}},
			"product":              {device.Search{Product: "standard", Manufacturer: "qemu"}, []string{"b"}},
			"machine":              {device.Search{Virtualisation: "kvm"}, []string{"b"}},
			"physical":             {device.Search{Virtualisation: "none"}, []string{"a", "c"}},
			"not seen":             {device.Search{UnseenDays: 30}, []string{"c"}},
			"seen before":          {device.Search{SeenBefore: past.AddDate(0, 0, 1)}, []string{"c"}},
			"seen after":           {device.Search{SeenAfter: past.AddDate(0, 0, 1)}, []string{"a", "b"}},
			"enrolled before":      {device.Search{EnrolledBefore: past.AddDate(0, 0, 1)}, []string{"c"}},
			"enrolled after":       {device.Search{EnrolledAfter: past.AddDate(0, 0, 1)}, []string{"a", "b"}},
			"program":              {device.Search{Software: "nano"}, []string{"a", "c"}},
			"its version is":       {device.Search{Software: "nano", SoftwareVersion: "7.2-1"}, []string{"a"}},
			"its version is below": {device.Search{Software: "nano", SoftwareBelow: "7.10-1"}, []string{"a"}},
			"no such version":      {device.Search{Software: "openssl", SoftwareBelow: "3.0.9-1"}, []string{}},
			"nobody has it":        {device.Search{Software: "nan"}, []string{}},
			"wildcards are text":   {device.Search{OSName: "%"}, []string{}},
			"all at once":          {device.Search{OS: "linux", Software: "openssl", AgentBelow: "2.0.0"}, []string{"a"}},
		} {
			count, list, err := e.Preview(t.Context(), tc.search, 50)
			require.NoError(t, err, name)
			require.Equal(t, len(tc.want), count, name)
			names := []string{}
			for _, m := range list {
				names = append(names, m.Hostname)
			}
			require.Equal(t, tc.want, names, name)
			g := e.create(group.Group{Name: name, Search: &tc.search})
			require.Equal(t, len(tc.want), g.Members, name)
			require.Equal(t, tc.search, *g.Search, name)
			require.Equal(t, tc.want, e.members(g.ID), name)
			require.Equal(t, tc.want, e.found(g.ID), name)
			direct, err := e.devices.List(t.Context(), device.Filter{Search: tc.search, Limit: 10})
			require.NoError(t, err)
			require.Len(t, direct, len(tc.want), name)
		}
	})
}
