package task_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/server/internal/device"
	"github.com/muster/muster/server/internal/event"
	"github.com/muster/muster/server/internal/task"
)

// computer makes a device of an agent that can update itself, but for what change changes.
func (e *env) computer(change func(f *protocol.Facts)) string {
	e.t.Helper()
	facts := protocol.Facts{
		Hostname: "host", MachineID: random(), OS: "linux", Arch: "amd64", AgentVersion: "1.0.0",
		Modules: []string{protocol.TaskInventory, protocol.TaskUpdate}, TasksAllowed: []string{protocol.TaskUpdate},
	}
	if change != nil {
		change(&facts)
	}
	_, secret, err := e.devices.CreateToken(e.ctx(), device.Token{Name: "t", ExpiresAt: time.Now().Add(time.Hour)})
	require.NoError(e.t, err)
	d, err := e.devices.Enroll(e.ctx(), protocol.EnrollRequest{
		Token: secret, Nonce: random(), SecretSHA256: protocol.HashSecret(random()), Facts: facts,
	}, "127.0.0.1")
	require.NoError(e.t, err)
	return d.ID
}

func release11() release.Release {
	return release.Release{ID: uuid.NewString(), Version: "1.1.0", Builds: []release.Build{{OS: "linux", Arch: "amd64"}}}
}

var envelopeOf11 = strings.Repeat("e", 64)

// update asks and returns the tasks by device.
func (e *env) update(req task.UpdateRequest) (made map[string]task.Task, out task.Updates) {
	e.t.Helper()
	req.Envelope, req.By = envelopeOf11, "ann"
	out, err := e.svc.Update(e.ctx(), req)
	require.NoError(e.t, err)
	made = map[string]task.Task{}
	if out.Made == 0 {
		require.Empty(e.t, out.BatchID)
		return made, out
	}
	list, err := e.svc.List(e.ctx(), task.Filter{BatchID: out.BatchID, Limit: 100})
	require.NoError(e.t, err)
	require.Len(e.t, list, out.Made)
	for _, t := range list {
		made[t.DeviceID] = t
	}
	return made, out
}

func (e *env) eventsOf(deviceID string) []event.Event {
	e.t.Helper()
	var found []event.Event
	require.NoError(e.t, e.db.Where("device_id = ? AND kind = ?", deviceID, event.AgentUpdateFailed).Order("id").Find(&found).Error)
	return found
}

func ended(t task.Task, state protocol.State, reason protocol.Reason, result protocol.UpdateResult) protocol.Report {
	r := report(t, state, reason)
	r.Task.Update = &result
	return r
}

func TestUpdate_fromRequestToResult(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		good, bad := e.computer(nil), e.computer(nil)
		r := release11()
		made, _ := e.update(task.UpdateRequest{DeviceIDs: []string{good, bad, good}, Release: r})
		require.Len(t, made, 2)
		list, err := e.svc.Offer(t.Context(), good, protocol.DeviceActive)
		require.NoError(t, err)
		require.Equal(t, []protocol.Task{{ID: made[good].ID, Kind: protocol.TaskUpdate, Update: &protocol.UpdateTask{
			ReleaseID: r.ID, Version: "1.1.0", Release: envelopeOf11, ProbationSeconds: protocol.DefaultProbation,
		}}}, list)
		require.NoError(t, list[0].Validate())

		e.say(good, report(made[good], protocol.StateStarted, ""))
		e.say(good, ended(made[good], protocol.StateSucceeded, protocol.ReasonDone, protocol.UpdateResult{From: "1.0.0", To: "1.1.0", Outcome: protocol.UpdateInstalled}))
		now := e.get(made[good].ID)
		require.Equal(t, "succeeded: the agent runs the release", now.Summary)
		require.Equal(t, &protocol.UpdateResult{From: "1.0.0", To: "1.1.0", Outcome: protocol.UpdateInstalled}, now.Update.Result)
		require.Empty(t, e.eventsOf(good))

		e.live.take()
		result := protocol.UpdateResult{From: "1.0.0", To: "1.1.0\x1b[2J", Outcome: protocol.UpdateRolledBack}
		last := ended(made[bad], protocol.StateFailed, protocol.ReasonProbation, result)
		e.say(bad, last)
		e.say(bad, last)
		now = e.get(made[bad].ID)
		require.Equal(t, "failed: the new agent did not check in within its time; the old one is back", now.Summary)
		require.Equal(t, protocol.UpdateRolledBack, now.Update.Result.Outcome)
		require.Equal(t, "1.1.0[2J", now.Update.Result.To, "a device cannot steer a terminal")
		events := e.eventsOf(bad)
		require.Len(t, events, 1, "told once, however often it is reported")
		require.Equal(t, "1.0.0", events[0].Former)
		require.Equal(t, "1.1.0", events[0].Present)
		require.Contains(t, events[0].Message, "rolled back to 1.0.0")
		_, types := e.live.take()
		require.Contains(t, types, "event")

		of, err := e.svc.List(t.Context(), task.Filter{ReleaseID: r.ID, Limit: 10})
		require.NoError(t, err)
		require.Len(t, of, 2)
	})
}

// TestUpdate_takesOnlyDevicesThatCan: named devices all or none, members of a group those that fit.
func TestUpdate_takesOnlyDevicesThatCan(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		r := release11()
		fits, busy := e.computer(nil), e.computer(nil)
		e.update(task.UpdateRequest{DeviceIDs: []string{busy}, Release: release11()})
		revoked := e.computer(nil)
		_, err := e.devices.Revoke(t.Context(), revoked)
		require.NoError(t, err)
		cannot := map[string]string{
			e.computer(func(f *protocol.Facts) { f.Modules = nil }):                     "cannot update itself",
			e.computer(func(f *protocol.Facts) { f.TasksAllowed = []string{"deploy"} }): "denies updates by this server",
			e.computer(func(f *protocol.Facts) { f.Arch = "arm64" }):                    "no build for linux/arm64",
			busy:    "open update",
			revoked: "revoked",
			"gone":  "there is no device",
		}
		var all []string
		for id, why := range cannot {
			_, err := e.svc.Update(t.Context(), task.UpdateRequest{DeviceIDs: []string{fits, id}, Release: r, Envelope: envelopeOf11, By: "ann"})
			require.ErrorContains(t, err, why)
			require.Contains(t, []fault.Code{fault.Conflict, fault.NotFound}, fault.CodeOf(err))
			all = append(all, id)
		}
		require.Zero(t, e.open(fits), "nothing is made when one cannot")
		same := e.computer(func(f *protocol.Facts) { f.AgentVersion = "v1.1.0+build" })
		above := e.computer(func(f *protocol.Facts) { f.AgentVersion = "1.2.0" })
		cannot[same], cannot[above] = "is v1.1.0+build already", "is 1.2.0 already"
		made, out := e.update(task.UpdateRequest{DeviceIDs: append(all, fits, same, above), Release: r, Fitting: true})
		require.Len(t, made, 1)
		require.Contains(t, made, fits)
		require.Len(t, out.Left, len(cannot))
		for _, l := range out.Left {
			require.Contains(t, l.Why, cannot[l.DeviceID])
		}
		down := r
		down.ID, down.DowngradeFrom = uuid.NewString(), []string{"1.2.0"}
		made, _ = e.update(task.UpdateRequest{DeviceIDs: []string{same, above}, Release: down, Fitting: true})
		require.Contains(t, made, above, "the signed allowance to go down")
		require.Len(t, made, 1)

		for _, wrong := range []task.UpdateRequest{
			{Release: r, Envelope: envelopeOf11}, {DeviceIDs: []string{fits}, Release: r, Envelope: envelopeOf11, ProbationSeconds: 1},
		} {
			_, err := e.svc.Update(t.Context(), wrong)
			require.True(t, fault.Is(err, fault.Invalid), "%v", err)
		}
	})
}

// TestUpdate_onceIsNotTriedForEver: what members of a group are brought to by themselves is tried once each.
func TestUpdate_onceIsNotTriedForEver(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, e *env) {
		r := release11()
		dev := e.computer(nil)
		ask := task.UpdateRequest{DeviceIDs: []string{dev}, Release: r, Fitting: true, Once: true}
		made, _ := e.update(ask)
		again, out := e.update(ask)
		require.Empty(t, again)
		require.Len(t, out.Left, 1)
		e.say(dev, ended(made[dev], protocol.StateFailed, protocol.ReasonCrashed, protocol.UpdateResult{From: "1.0.0", To: "1.1.0", Outcome: protocol.UpdateRolledBack}))
		again, _ = e.update(ask)
		require.Empty(t, again, "it failed already")
		ask.Fitting, ask.Once = false, false
		made, _ = e.update(ask)
		require.Len(t, made, 1, "a person may try again")

		require.NoError(t, e.svc.EndUpdates(t.Context(), r.ID, "ann"))
		require.Equal(t, "cancelled: the release was retired", e.get(made[dev].ID).Summary)
		require.Zero(t, e.open(dev))
		require.NoError(t, e.svc.EndUpdates(t.Context(), r.ID, "ann"))
	})
}
