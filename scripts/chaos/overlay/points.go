package overlay

import (
	"regexp"
	"slices"
)

// hit is a kill point of the given name in front of an anchor.
func hit(file, name, anchor string) Rule {
	return Rule{File: file, Anchor: anchor, Before: `point.Hit("` + name + `")`}
}

// AgentPoints are the kill points of the agent: resident, session, task and runner.
func AgentPoints() []Rule {
	const (
		journal  = "agent/internal/journal/journal.go"
		segment  = "agent/internal/spool/segment.go"
		spool    = "agent/internal/spool/spool.go"
		attempt  = "agent/internal/attempt/attempt.go"
		runner   = "agent/internal/proc/runner.go"
		run      = "agent/internal/proc/run.go"
		deploy   = "agent/internal/task/deploy/deploy.go"
		perform  = "agent/internal/task/deploy/run.go"
		worker   = "agent/internal/resident/worker.go"
		session  = "agent/internal/session/session.go"
		deliver  = "agent/internal/session/deliver.go"
		rotate   = "agent/internal/session/rotate.go"
		enroll   = "agent/internal/identity/enroll.go"
		settling = "if err := a.Settle(); err != nil {\n\t\tu.log.Error(\"settle an attempt\""
	)
	return append([]Rule{
		hit(journal, "journal.before-write", "if _, err := j.file.Write(line); err != nil {"),
		hit(journal, "journal.before-sync", "if err := j.file.Sync(); err != nil {"),
		hit(journal, "journal.after-sync", "j.size += int64(len(line))"),

		hit(segment, "spool.before-write", "_, err := s.file.Write(data)"),
		hit(segment, "spool.before-sync", "err = s.file.Sync()"),
		hit(segment, "spool.after-sync", "s.size += int64(len(data))\n\treturn entries, nil"),
		hit(segment, "spool.before-note", "_, err = s.acks.Write("),
		hit(segment, "spool.before-remove", "if err := os.Remove(s.path(segmentSuffix)); err != nil {"),
		{File: segment, Anchor: "func (s *segment) forgetNotes() error {", After: `point.Hit("spool.before-forget-notes")`},
		hit(spool, "spool.before-roll", "seg, err := createSegment(s.dir, number)"),
		hit(spool, "spool.after-roll", "s.segments = append(s.segments, seg)\n\treturn seg, nil"),

		hit(attempt, "attempt.before-begin", "if err := atomicfile.MkdirAll(a.dir, 0o700); err != nil {"),
		hit(attempt, "attempt.begun", "return atomicfile.SyncDir(filepath.Dir(a.dir))"),
		hit(attempt, "attempt.before-settle", "if err := os.WriteFile(filepath.Join(a.dir, settledFile)"),

		hit(run, "runner.before-launch", "run, err := launch(dir, lock, hold)"),
		hit(run, "runner.launched", "return run, lock.Unlock()"),
		hit(runner, "runner.before-mark", "if err := r.markStarted(); err != nil {"),
		hit(runner, "runner.marked", "status := r.run()"),
		hit(runner, "runner.started", "copied := make(chan struct{})"),
		hit(runner, "runner.exited", "return r.record(status)"),
		hit(runner, "runner.recorded", "if outputErr != nil {"),

		hit(deploy, "task.before-journal", "if err := d.journal.Append(record); err != nil {"),
		hit(deploy, "task.before-emit", "if err := d.emit(task.Event{Report: &report}); err != nil {"),
		{File: deploy, Anchor: "return fmt.Errorf(\"tell %s: %w\", r.State, err)\n\t}", After: `point.Hit("task.after-emit")`},
		hit(deploy, "task.ended", "d.log.Info(\"attempt ends\""),
		hit(deploy, "task.before-end", "if err := d.emit(task.Event{End:"),
		hit(perform, "task.before-start", "return d.start(ctx, cmd)"),

		hit(worker, "resident.before-spool", "if err := u.spool.Add(ctx, *e.Report); err != nil {"),
		hit(worker, "resident.after-spool", "r.statusChanged()\n\tcase e.Progress"),
		hit(worker, "resident.before-settle", settling),
		hit(worker, "resident.settled", "u.done(it)\n\tif it.task.Kind == protocol.TaskRemove"),

		hit(deliver, "session.before-ack", "if err := s.o.Spool.Ack(ids...); err != nil {"),
		hit(deliver, "session.after-ack", "named := map[string]bool{}"),
		hit(session, "session.answered", "s.o.Host.Offer(resp.Tasks, "),
		hit(session, "session.offered", "s.save() // after the offer"),
		hit(rotate, "session.before-rotate", "if err := s.client.Rotate(ctx, id.NextSecret); err != nil {"),
		hit(rotate, "session.before-promote", "id.Secret, id.NextSecret = secret, \"\""),

		hit(enroll, "enroll.before-ask", "resp, err := c.Enroll(ctx, protocol.EnrollRequest{"),
		hit(enroll, "enroll.answered", "if _, err := s.AcceptTrust(id.RootKeyID, resp.Trust); err != nil {"),
		hit(enroll, "enroll.trusted", "id.DeviceID, id.EnrolledAt, id.Token = "),

		// Children get a small environment of their own, and each agent may have been started anew.
		{File: "agent/internal/proc/environ.go", Anchor: "return append(baseEnviron(), extra...)",
			Instead: "return append(append(baseEnviron(), point.Environ()...), extra...)"},
		{File: "agent/internal/facts/facts_linux.go", Anchor: `func BootID() string { return root.Line("proc/sys/kernel/random/boot_id") }`,
			Instead: `func BootID() string { return point.BootID(root.Line("proc/sys/kernel/random/boot_id")) }`},
	}, filePoints()...)
}

// filePoints are around each replacement of a file, by either program.
func filePoints() []Rule {
	const file = "packages/atomicfile/atomicfile.go"
	return []Rule{
		{File: file, Anchor: "if err = replace(tmp.Name(), path); err != nil {", Before: `point.File("before-rename", path)`},
		{File: file, Anchor: "return n, SyncDir(dir)", Before: `point.File("after-rename", path)`},
	}
}

// ServerPoints are the kill points of the server.
func ServerPoints() []Rule {
	const (
		ingest     = "server/internal/deploy/ingest.go"
		store      = "server/internal/deploy/store_ingest.go"
		service    = "server/internal/deploy/deploy.go"
		admin      = "server/internal/deploy/admin.go"
		credential = "server/internal/device/credential.go"
		enroll     = "server/internal/device/enroll.go"
		agents     = "server/internal/agentapi/http.go"
		upload     = "server/internal/blob/upload.go"
		finish     = "server/internal/blob/finish.go"
		catalog    = "server/internal/catalog/change.go"
		trust      = "server/internal/trust/publish.go"
	)
	return append([]Rule{
		hit(ingest, "server.ingest.before-commit", "refused, effects, err := s.store.apply(ctx, all)"),
		hit(store, "server.ingest.in-transaction", "return w.regate(moved)"),
		hit(ingest, "server.ingest.after-commit", "if err == nil {\n\t\ts.tell(effects)"),
		hit("server/internal/ingest/ingest.go", "server.ingest.before-ack", "s.metrics.reports.Add(float64(len(ack.IDs)))"),
		{File: service, Anchor: "func (s *Service) tell(e effects) {", After: `point.Hit("server.before-wake")`},
		hit(admin, "server.assign.before-commit", "row, e, err := s.store.assign(ctx, row, pkg, targets, newIDs)"),
		hit(admin, "server.assign.after-commit", "s.log.Info(\"package assigned\""),
		hit(enroll, "server.enroll.before-commit", "row, made, err := s.store.enroll("),
		hit(enroll, "server.enroll.after-commit", "if made {\n\t\ts.log.Info(\"device enrolled\""),
		hit(credential, "server.promote.before-commit", "if err := s.store.promote(ctx, row); err != nil {"),
		hit(credential, "server.promote.after-commit", "s.log.Info(\"device uses its next secret\""),
		hit(credential, "server.announce.before-commit", "return s.store.announce(ctx, id, nextSHA256)"),
		hit(agents, "server.announce.after-commit", "return c.NoContent(http.StatusNoContent)"),
		hit(upload, "server.upload.before-advance", "if err := c.s.rows.advance("),
		hit(upload, "server.upload.after-advance", "*c.row = next"),
		hit(finish, "server.upload.before-finish", "if err := s.rows.finishUpload(ctx, row); err != nil {"),
		hit(catalog, "server.sign.before-commit", "row, err := s.rows.sign(ctx, id, signed{"),
		hit(catalog, "server.sign.after-commit", "s.tell(ctx, row, EventSigned)"),
		hit(trust, "server.trust.before-commit", "if err := s.rows.add(ctx, l.Document.Version"),
		hit(trust, "server.trust.after-commit", "s.take(l)\n\ts.log.InfoContext(ctx, \"published trust document\""),
	}, filePoints()...)
}

// LogPoints are the kill points of forwarded log lines, in agent and server. They are apart because they are hit
// only where lines are asked for.
func LogPoints() (agent, server []Rule) {
	const (
		forward = "agent/internal/logforward/forward.go"
		batch   = "agent/internal/logforward/batch.go"
		ingest  = "server/internal/devicelog/ingest.go"
	)
	return []Rule{
			hit(batch, "forward.before-write", "n, err := b.file.Write(data)"),
			hit(forward, "forward.before-seal", "dropped := f.dropped + f.o.Spool.TakeDroppedLines()"),
			hit(batch, "forward.before-spool", "err := f.o.Spool.Add("),
			hit(batch, "forward.before-remove", "if err := os.Remove(path); err != nil"),
		}, []Rule{
			hit(ingest, "server.log.before-commit", "done, err := s.store.apply(ctx, group, s.now(), s.bounds)"),
			hit(ingest, "server.log.after-commit", "s.metrics.lines.Add(float64(done.lines))"),
		}
}

// Recording replaces package os where the agent keeps state.
func Recording() []Rule {
	var rules []Rule
	for _, file := range []string{
		"agent/internal/journal/journal.go", "agent/internal/spool/spool.go", "agent/internal/spool/segment.go",
		"agent/internal/attempt/attempt.go", "agent/internal/identity/identity.go", "agent/internal/identity/enroll.go",
		"agent/internal/launch/launch.go", "agent/internal/launch/slot.go",
		"packages/atomicfile/atomicfile.go", "packages/atomicfile/atomicfile_unix.go", "packages/atomicfile/directory.go",
	} {
		rules = append(rules, Rule{File: file, Anchor: `"os"`, Instead: `os "github.com/muster/muster/scripts/chaos/recordos"`})
	}
	return rules
}

// AgentTimes shorten the agent's waits, so that a test sees many crashes in a short time. What is waited
// for stays the same.
func AgentTimes() []Rule {
	return []Rule{
		{File: "agent/internal/resident/worker.go", Anchor: "taskRetry = time.Minute", Instead: "taskRetry = 200 * time.Millisecond"},
		{File: "agent/internal/resident/worker.go", Anchor: "taskRetryMax = time.Hour", Instead: "taskRetryMax = 2 * time.Second"},
		{File: "agent/internal/task/deploy/deploy.go", Anchor: "minRetry = time.Minute", Instead: "minRetry = 500 * time.Millisecond"},
		{File: "agent/internal/task/deploy/deploy.go", Anchor: "maxRetry = 15 * time.Minute", Instead: "maxRetry = 2 * time.Second"},
		{File: "agent/internal/session/session.go", Anchor: "quietRetry = time.Hour", Instead: "quietRetry = time.Second"},
		{File: "agent/internal/session/session.go", Anchor: "firstRetry = 2 * time.Second", Instead: "firstRetry = 100 * time.Millisecond"},
		{File: "agent/internal/session/session.go", Anchor: "rotateAfter = 30 * 24 * time.Hour", Instead: "rotateAfter = 5 * time.Second"},
		{File: "agent/internal/session/deliver.go", Anchor: "const ackLimit = 30 * time.Second", Instead: "const ackLimit = 5 * time.Second"},
		{File: "agent/internal/spool/spool.go", Anchor: "l.SegmentBytes = 1 << 20", Instead: "l.SegmentBytes = 4 << 10"},
	}
}

// ServerTimes shorten the server's waits.
func ServerTimes() []Rule {
	return []Rule{
		{File: "server/internal/deploy/retry.go", Anchor: "retryBase = 30 * time.Second", Instead: "retryBase = 500 * time.Millisecond"},
		{File: "server/internal/deploy/retry.go", Anchor: "retryCap = time.Hour", Instead: "retryCap = 2 * time.Second"},
	}
}

var pointName = regexp.MustCompile(`point\.Hit\("([^"]+)"\)`)

// Names lists the kill points of rules, sorted. Those of replaced files are named at run time, file.NAME.
func Names(rules []Rule) []string {
	var names []string
	for _, r := range rules {
		for _, m := range pointName.FindAllStringSubmatch(r.Before+r.After+r.Instead, -1) {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
