package group_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/group"
)

// What changes of a device moves it in and out of saved searches by itself, and who looks at a group meanwhile
// sees what is true now.
func TestRun_searchesFollowTheirDevices(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		t.Cleanup(func() { stop(); <-ended })
		go func() { defer close(ended); e.Run(ctx) }()

		room := e.create(group.Group{Name: "room", LogLevel: "warn"})
		secret := e.token(device.Token{GroupIDs: []string{room.ID}})
		old := e.create(group.Group{Name: "old nano", Search: &device.Search{Software: "nano", SoftwareBelow: "8"}, LogLevel: "info"})
		windows := e.create(group.Group{Name: "windows", Search: &device.Search{OS: "windows"}})
		id := e.enroll(secret, "a", func(f *protocol.Facts) { f.OS = "windows" })
		e.await(windows.ID, "a")
		require.Eventually(t, func() bool { return e.level(id) == "warn" }, time.Minute, time.Millisecond, "it joined by its token")

		e.install(id, program("nano", "7.2-1"))
		require.Equal(t, []string{"a"}, e.found(old.ID), "what is listed of a search is looked for at once")
		e.await(old.ID, "a")
		require.Eventually(t, func() bool { return e.level(id) == "info" }, time.Minute, time.Millisecond)
		e.install(id, program("nano", "8.0-1"))
		require.Empty(t, e.found(old.ID))
		e.await(old.ID)
		require.Eventually(t, func() bool { return e.level(id) == "warn" }, time.Minute, time.Millisecond)

		facts := protocol.Facts{Hostname: "b", OS: "linux", ChangedAt: time.Now()}
		require.NoError(t, e.devices.UpdateFacts(ctx, id, facts))
		e.await(windows.ID)

		_, err := e.Alter(ctx, windows.ID, group.Change{Search: &device.Search{OS: "linux"}})
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, e.members(windows.ID), "who changes a search has its members")
		_, err = e.devices.Revoke(ctx, id)
		require.NoError(t, err)
		e.await(windows.ID)
	})
}

// await waits until the members of a group, as they are kept, are these.
func (e *env) await(id string, hostnames ...string) {
	e.t.Helper()
	if hostnames == nil {
		hostnames = []string{}
	}
	deadline := time.After(time.Minute)
	for {
		now := e.members(id)
		if len(now) == len(hostnames) && (len(now) == 0 || now[0] == hostnames[0]) {
			return
		}
		select {
		case <-deadline:
			require.Equal(e.t, hostnames, now)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// What a crash forgot that had changed is found by the next look at all.
func TestFind_makesGoodWhatWasForgotten(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		id := e.enroll(e.token(device.Token{}), "a", nil)
		g := e.create(group.Group{Name: "arm", Search: &device.Search{Arch: "arm64"}})
		list := e.create(group.Group{Name: "list"}, id)
		require.NoError(t, e.db.Exec("UPDATE devices SET arch = 'arm64' WHERE id = ?", id).Error)
		require.Empty(t, e.members(g.ID))
		require.NoError(t, e.Find(ctx))
		require.Equal(t, []string{"a"}, e.members(g.ID))
		require.NoError(t, e.db.Exec("UPDATE devices SET state = 'revoked' WHERE id = ?", id).Error)
		require.NoError(t, e.Find(ctx))
		require.Empty(t, e.members(g.ID))
		require.Empty(t, e.members(list.ID))
	})
}

// A search that cannot be carried out keeps no other from finding its devices, nor members from their release.
func TestFind_oneThatFailsKeepsNoOtherFromIt(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		broken := e.create(group.Group{Name: "broken", Search: &device.Search{OS: "none"}})
		good := e.create(group.Group{Name: "good", Search: &device.Search{OS: "linux"}, ReleaseID: "r1"})
		require.NoError(t, e.db.Exec("UPDATE device_groups SET search = '{' WHERE id = ?", broken.ID).Error)
		id := e.enroll(e.token(device.Token{}), "a", nil)
		require.ErrorContains(t, e.Find(t.Context()), broken.ID)
		require.Equal(t, []string{"a"}, e.members(good.ID))
		e.bring()
		_, updates := e.take()
		require.Equal(t, []string{"r1 " + id}, updates)
	})
}

func TestToken_devicesJoinItsGroups(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		lab := e.create(group.Group{Name: "Lab", LogLevel: "debug", ReleaseID: "r1"})
		saved := e.create(group.Group{Name: "Saved", Search: &device.Search{OS: "none"}})
		for name, ids := range map[string][]string{"unknown": {"nope"}, "a saved search": {lab.ID, saved.ID}} {
			_, _, err := e.devices.CreateToken(ctx, device.Token{Name: "x", ExpiresAt: time.Now().Add(time.Hour), GroupIDs: ids})
			require.Equal(t, fault.Invalid, fault.CodeOf(err), name)
		}
		tokens, err := e.devices.Tokens(ctx, "", 10)
		require.NoError(t, err)
		require.Empty(t, tokens, "what was refused has left no token")

		made, secret, err := e.devices.CreateToken(ctx, device.Token{
			Name: "lab", ExpiresAt: time.Now().Add(time.Hour), NeedsApproval: true, GroupIDs: []string{lab.ID, lab.ID},
		})
		require.NoError(t, err)
		groups, err := e.TokenGroups(ctx, []string{made.ID})
		require.NoError(t, err)
		require.Equal(t, map[string][]device.GroupRef{made.ID: {{ID: lab.ID, Name: "Lab", Kind: group.Static}}}, groups)

		id := e.enroll(secret, "a", nil)
		require.Equal(t, []string{"a"}, e.members(lab.ID), "it is a member as soon as it is enrolled")
		e.bring()
		_, updates := e.take()
		require.Empty(t, updates, "who waits for approval gets nothing to do")
		_, err = e.devices.Approve(ctx, id)
		require.NoError(t, err)
		e.bring()
		woken, updates := e.take()
		require.Equal(t, []string{id}, woken)
		require.Equal(t, []string{"r1 " + id}, updates)
		require.Equal(t, "debug", e.level(id))

		isCode(t, fault.Conflict, e.delete(lab.ID))
		require.NoError(t, e.devices.RevokeToken(ctx, made.ID))
		require.NoError(t, e.delete(lab.ID))
		e.bring()
		require.Empty(t, e.level(id), "with the group goes what it had set")
	})
}

// The most talkative level of a device's groups holds; what a group said ends with the membership.
func TestBring_logLevels(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		secret := e.token(device.Token{})
		a, b := e.enroll(secret, "a", nil), e.enroll(secret, "b", nil)
		loud := e.create(group.Group{Name: "loud", LogLevel: "debug"}, a)
		quiet := e.create(group.Group{Name: "quiet", LogLevel: "error"}, a, b)
		e.create(group.Group{Name: "none"}, a, b)
		levels := func(wantA, wantB string) {
			t.Helper()
			e.bring()
			require.Equal(t, []string{wantA, wantB}, []string{e.level(a), e.level(b)})
		}
		levels("debug", "error")
		woken, _ := e.take()
		require.ElementsMatch(t, []string{a, b}, woken)
		e.bring()
		woken, _ = e.take()
		require.Empty(t, woken, "what is done is not done again")

		_, err := e.Alter(ctx, quiet.ID, group.Change{LogLevel: ptr("warn")})
		require.NoError(t, err)
		levels("debug", "warn")
		woken, _ = e.take()
		require.Equal(t, []string{b}, woken, "nothing changed for the other")
		_, err = e.Remove(ctx, loud.ID, []string{a})
		require.NoError(t, err)
		levels("warn", "warn")
		_, err = e.Add(ctx, loud.ID, []string{b}, "ada")
		require.NoError(t, err)
		levels("warn", "debug")
		require.NoError(t, e.delete(loud.ID))
		levels("warn", "warn")
		_, err = e.Alter(ctx, quiet.ID, group.Change{LogLevel: ptr("")})
		require.NoError(t, err)
		levels("", "")
		var rows int64
		require.NoError(t, e.db.Table("group_members").Where("member = ? OR due > 0", false).Count(&rows).Error)
		require.Zero(t, rows, "nothing is left of who has left")
	})
}

// Members become their group's release, once each; what could not be asked for is tried again, and never lost
// with a crash before it was noted.
func TestBring_release(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		secret := e.token(device.Token{})
		a := e.enroll(secret, "a", nil)
		g := e.create(group.Group{Name: "pilots"}, a)
		e.bring()
		_, updates := e.take()
		require.Empty(t, updates)

		_, err := e.Alter(ctx, g.ID, group.Change{ReleaseID: ptr("r1"), LogLevel: ptr("info")})
		require.NoError(t, err)
		e.fail = errors.New("the database is away")
		e.bring()
		_, updates = e.take()
		require.Equal(t, []string{"r1 " + a}, updates)
		require.Equal(t, "info", e.level(a), "one that fails does not keep the other from it")
		e.fail = nil
		e.bring()
		_, updates = e.take()
		require.Equal(t, []string{"r1 " + a}, updates, "what failed is tried again")
		e.bring()
		_, updates = e.take()
		require.Empty(t, updates)

		b := e.enroll(secret, "b", func(f *protocol.Facts) { f.AgentVersion = "2.0.0" })
		_, err = e.Add(ctx, g.ID, []string{b}, "ada")
		require.NoError(t, err)
		e.fail = fault.New(fault.Conflict, "retired")
		e.bring()
		_, updates = e.take()
		require.Equal(t, []string{"r1 " + b}, updates, "who joins is asked, others are left alone")
		e.fail = nil
		e.bring()
		_, updates = e.take()
		require.Empty(t, updates, "a retired release is not tried for ever")
		require.NoError(t, e.Find(ctx))
		e.bring()
		_, updates = e.take()
		require.Equal(t, []string{"r1 " + a}, updates, "once in a while who is older is asked again: it may not have been able to")
	})
}

// A row that changes while it is brought in line is brought in line again.
func TestBring_changesMeanwhileAreNotLost(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		ctx := t.Context()
		a := e.enroll(e.token(device.Token{}), "a", nil)
		g := e.create(group.Group{Name: "g", LogLevel: "debug"}, a)
		e.wake = func() { // between the work and the note that it is done
			e.wake = nil
			_, err := e.Remove(ctx, g.ID, []string{a})
			require.NoError(t, err)
		}
		e.bring()
		e.bring()
		require.Empty(t, e.level(a))
		_, err := e.Add(ctx, g.ID, []string{a}, "ada")
		require.NoError(t, err)
		e.bring()
		require.Equal(t, "debug", e.level(a))
	})
}
