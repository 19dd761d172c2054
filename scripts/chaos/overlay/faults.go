package overlay

// Fault is a mistake that a test plants to show that it would be found.
type Fault struct {
	Name  string
	Agent []Rule // in the agent, or
	// Server holds the rules for the server.
	Server []Rule
}

// NoSync is the name of one of them.
const NoSync = "the journal and the spool are not synced"

// Faults are the planted mistakes. Each breaks one of the promises that the design makes.
func Faults() []Fault {
	return []Fault{
		{Name: "the server acknowledges before it has committed", Server: []Rule{{
			File: "server/internal/deploy/ingest.go", Anchor: "if err := s.commit(ctx, b); err != nil {\n\t\treturn protocol.Ack{}, err\n\t}",
			Instead: "go func(reports []incoming) { _ = s.commit(context.WithoutCancel(ctx), &batch{reports: reports, done: make(chan struct{})}) }(b.reports)\n\tb.refused = make([]error, len(b.reports))",
		}}},
		{Name: NoSync, Agent: []Rule{
			{File: "agent/internal/journal/journal.go", Anchor: "if err := j.file.Sync(); err != nil {", Instead: "if err := error(nil); err != nil {"},
			{File: "agent/internal/journal/journal.go", Anchor: "file.Sync(), atomicfile", Instead: "error(nil), atomicfile"},
			{File: "agent/internal/spool/segment.go", Anchor: "err = s.file.Sync()", Instead: "err = nil"},
		}},
		{Name: "started is journalled after the start", Agent: []Rule{{
			File:   "agent/internal/task/deploy/run.go",
			Anchor: "if err := d.started(); err != nil {\n\t\treturn err\n\t}\n\tpoint.Hit(\"task.before-start\")\nreturn d.start(ctx, cmd)\n}",
			Instead: `run, err := proc.StartRunner(d.path(runDir), cmd, d.change)
	if err != nil && !errors.Is(err, proc.ErrBegun) {
		return err
	}
	point.Hit("task.before-start")
	if err := d.started(); err != nil {
		return err
	}
	if run == nil {
		return d.await(ctx)
	}
	status, err := run.Await(ctx)
	return d.ended(ctx, status, err)
}`,
		}}},
		{Name: "the server takes a report twice", Server: []Rule{{
			File: "server/internal/deploy/store_ingest.go", Anchor: "if known[key] {\n\t\t\t\tcontinue\n\t\t\t}", Instead: "if known[key] {\n\t\t\t\tr.reportID = \"\"\n\t\t\t}",
		}}},
		{Name: "the agent runs the command again after an interrupt", Agent: []Rule{{
			File:   "agent/internal/task/deploy/run.go",
			Anchor: "case errors.Is(err, proc.ErrLost), errors.Is(err, proc.ErrNotBegun):\n",
			After: `if uerr := unlock(d.change); uerr != nil {
			return uerr
		}
		d.change = nil
		if rerr := os.RemoveAll(d.path(runDir)); rerr != nil {
			return rerr
		}
		if uerr := d.unpack(ctx); uerr != nil {
			return uerr
		}
		return d.perform(ctx)
	case false:`,
		}}},
	}
}
