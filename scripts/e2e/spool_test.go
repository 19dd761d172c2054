//go:build linux

package e2e_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/scripts/chaos/overlay"
	"github.com/muster/muster/scripts/chaos/point"
)

var (
	spoolReports = flag.Int("spool.reports", 400, "results and log lines in TestSpool")
	spoolKills   = flag.Int("spool.kills", 4, "kills in TestSpool")
)

const (
	spoolSteps = 9 // results of one deployment, the end among them
	spoolLines = 5 // lines of one report
)

// spoolPoints are where delivering writes something down, on either side.
var spoolPoints = map[string][]string{
	"agent": {
		"session.before-ack", "session.after-ack", "spool.before-note", "spool.before-remove", "spool.before-forget-notes",
		"forward.before-write", "forward.before-seal", "forward.before-spool", "forward.before-remove", "spool.before-sync", "spool.after-sync",
	},
	"server": {
		"server.ingest.before-commit", "server.ingest.in-transaction", "server.ingest.after-commit", "server.ingest.before-ack",
		"server.log.before-commit", "server.log.after-commit",
	},
}

// TestSpool makes results and log lines while the server is away, and kills both sides at random, before and
// while they are delivered. In the end the server's own API must show each of them, once: the results that were
// put into the spool, the lines that were, and every line that the agent wrote into its own log meanwhile.
func TestSpool(t *testing.T) {
	t.Parallel()
	w := newWorld(t, overlay.Fault{}, 1, nil)
	a := w.agents[0]
	w.keep(t)
	w.must(t, "PUT", "/devices/"+a.device+"/log", map[string]any{"level": "debug"}, nil)
	w.must(t, "POST", "/devices/"+a.device+"/log/follow", map[string]any{"for_seconds": 3600}, nil)

	// A package of priority 0 holds back the others, so that the agent does not begin what it has results of.
	gatePackage, gate := w.api.offerGated(t, "gate", "true", "echo open", map[string]any{"priority": 0})
	gated, _ := w.api.assign(t, gatePackage, a.device)
	w.api.awaitState(t, gated, "started")
	awaitSpool(t, w, "the level to reach the device", func() bool { return w.lines(t, a)["core/debug/checked in"] > 0 })
	a.kill("run")
	want := newSpooled(t, w, a, *spoolReports)

	w.server.kill("serve")
	await(t, "both to be gone", func() (bool, string) { return !a.running() && !w.server.running(), "running" })
	want.fill(t, a)
	before := w.kills()
	for range max(*spoolKills/4, 1) { // away: it logs, and tries again and again
		a.keep(t)
		w.linger(400 * time.Millisecond)
		a.kill("run")
		await(t, "the agent to be gone", func() (bool, string) { return !a.running(), "running" })
	}
	undelivered := want.undelivered(t, a)
	require.GreaterOrEqual(t, undelivered, want.reports, "something went before the server was back")

	during := w.injureDelivery(t, a, before+*spoolKills, want)
	want.await(t, w, a)
	t.Logf("%d results and %d log lines in %d reports, made while the server was away; %d kills, %d of them while these were being delivered: %v",
		want.results, want.lines, want.reports, w.kills()-before, during, w.killList())

	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	var d deployment
	awaitSpool(t, w, "the command that ran all the while", func() bool {
		return w.ask("GET", "/deployments/"+gated, nil, &d) == nil && d.State == "succeeded"
	})
	want.compareLog(t, w, a)
}

// must asks until the server answers, which it may be too busy starting to do.
func (w *world) must(t *testing.T, method, path string, in, out any) {
	t.Helper()
	await(t, method+" "+path, func() (bool, string) {
		w.keep(t)
		err := w.ask(method, path, in, out)
		return err == nil, fmt.Sprint(err)
	})
}

// awaitSpool waits while both sides are kept running.
func awaitSpool(t *testing.T, w *world, what string, is func() bool) {
	t.Helper()
	awaitEvery(t, 10*chaosTick, chaosSettle, what, func() (bool, string) {
		w.keep(t)
		return is(), w.summary()
	})
}

// linger lets the world go on for a random while.
func (w *world) linger(most time.Duration) {
	timer := time.NewTimer(time.Duration(w.random.Int64N(int64(most))))
	defer timer.Stop()
	<-timer.C
}

// injureDelivery kills either side until there were so many kills, and returns how many of them came while the
// reports that were waiting were not all delivered.
func (w *world) injureDelivery(t *testing.T, a *node, until int, want *spooled) (during int) {
	t.Helper()
	seen := w.kills()
	awaitEvery(t, chaosTick, time.Minute+time.Duration(until)*5*time.Second, fmt.Sprintf("%d kills", until), func() (bool, string) {
		if n := w.kills(); n > seen {
			if want.undelivered(t, a) > 0 {
				during += n - seen
			}
			seen = n
		}
		if seen >= until {
			return true, ""
		}
		w.keep(t)
		for n, since := range w.armed {
			if len(point.Armed(n.dir)) == 0 || time.Since(since) > armedFor {
				require.NoError(t, point.Disarm(n.dir))
				delete(w.armed, n)
			}
		}
		n, side := a, "agent"
		if w.random.IntN(2) == 0 {
			n, side = w.server, "server"
		}
		switch {
		case len(w.armed) > 0: // let it come to that
		case w.random.IntN(4) == 0:
			w.linger(chaosPause)
			n.kill(map[string]string{"agent": "run", "server": "serve"}[side])
		default:
			w.arm(t, n, spoolPoints[side][w.random.IntN(len(spoolPoints[side]))])
		}
		return false, fmt.Sprintf("%d of %d", seen, until)
	})
	for _, n := range w.nodes() {
		require.NoError(t, point.Disarm(n.dir))
	}
	clear(w.armed)
	return during
}

// killList is what killed how often.
func (w *world) killList() string {
	total := map[string]int{}
	for _, n := range w.nodes() {
		for name, count := range n.kills() {
			total[name] += count
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(total)) {
		list = append(list, fmt.Sprintf("%s %d", name, total[name]))
	}
	return strings.Join(list, ", ")
}

// lines counts the log lines of a device on the server, by task, level and message.
func (w *world) lines(t *testing.T, a *node) map[string]int {
	t.Helper()
	count := map[string]int{}
	for cursor := ""; ; {
		var page struct {
			Items []struct {
				Task, Level, Message string
				Dropped              int64
			}
			Next string
		}
		w.must(t, "GET", "/logs?order=oldest&limit=200&device_id="+a.device+"&cursor="+cursor, nil, &page)
		for _, l := range page.Items {
			require.Zero(t, l.Dropped, "%+v", l)
			message := l.Message
			if strings.HasPrefix(message, "checked in ") {
				message = "checked in" // it names times
			}
			count[l.Task+"/"+l.Level+"/"+message]++
		}
		if cursor = page.Next; cursor == "" {
			return count
		}
	}
}

// spooled is what was put into an agent's spool.
type spooled struct {
	deployments             []deployment
	ids                     []string // of the reports
	data                    bytes.Buffer
	reports, results, lines int
}

// newSpooled makes results of deployments that the server knows, and lines, so many in all.
func newSpooled(t *testing.T, w *world, a *node, total int) *spooled {
	t.Helper()
	s := &spooled{}
	encode := json.NewEncoder(&s.data)
	add := func(r protocol.Report) {
		id, err := uuid.NewV7()
		require.NoError(t, err)
		r.ID, r.Time = id.String(), time.Now().UTC()
		require.NoError(t, encode.Encode(r))
		s.ids = append(s.ids, r.ID)
		s.reports++
	}
	code := 0
	for n := range total / (spoolSteps + 1) {
		id := w.api.offer(t, spec{Name: fmt.Sprintf("spooled-%d", n), Priority: 5, Action: "execute", Command: []string{"true"}})
		deploymentID, _ := w.api.assign(t, id, a.device)
		var d struct {
			deployment
			AttemptID string `json:"attempt_id"`
		}
		w.api.call(t, "GET", "/deployments/"+deploymentID, nil, &d)
		s.deployments = append(s.deployments, d.deployment)
		states := []protocol.State{
			protocol.StateAccepted, protocol.StateFetching, protocol.StateWaiting, protocol.StateWaiting, protocol.StateWaiting,
			protocol.StateFetched, protocol.StateUnpacked, protocol.StateStarted, protocol.StateSucceeded,
		}
		require.Len(t, states, spoolSteps)
		for step, state := range states {
			report := protocol.DeploymentReport{DeploymentID: deploymentID, AttemptID: d.AttemptID, State: state, Message: spooledResult(n, step)}
			switch state {
			case protocol.StateWaiting:
				report.Reason = protocol.ReasonDeviceError
			case protocol.StateSucceeded:
				report.Reason, report.ExitCode, report.Output = protocol.ReasonExitCode, &code, spooledResult(n, step)
			}
			add(protocol.Report{Kind: protocol.ReportDeployment, Deployment: &report})
			s.results++
		}
		if n%spoolLines == 0 {
			report := &protocol.LogReport{}
			for range spoolLines {
				report.Lines = append(report.Lines, protocol.LogLine{Time: time.Now().UTC(), Task: "deploy", Level: "info", Message: spooledLine(s.lines)})
				s.lines++
			}
			add(protocol.Report{Kind: protocol.ReportLog, Log: report})
		}
	}
	return s
}

func spooledResult(n, step int) string { return "result " + strconv.Itoa(n) + "." + strconv.Itoa(step) }
func spooledLine(n int) string         { return "line " + strconv.Itoa(n) }

func spoolOf(t *testing.T, a *node) string {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(a.data, "servers", "*"))
	require.NoError(t, err)
	require.Len(t, folders, 1)
	return filepath.Join(folders[0], "spool")
}

// fill puts the reports into the spool, by the agent's own code, while the agent does not run.
func (s *spooled) fill(t *testing.T, a *node) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "fillspool")
	build := exec.Command("go", "build", "-o", program, "./agent/internal/spool/fillspool")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	fill := exec.Command(program, spoolOf(t, a))
	fill.Stdin = &s.data
	out, err = fill.CombinedOutput()
	require.NoError(t, err, string(out))
}

// undelivered counts the reports of these that the spool's files hold and that are not noted as delivered.
func (s *spooled) undelivered(t *testing.T, a *node) int {
	t.Helper()
	held, gone := map[string]bool{}, map[string]bool{}
	for suffix, into := range map[string]map[string]bool{"seg": held, "ack": gone} {
		files, err := filepath.Glob(filepath.Join(spoolOf(t, a), "*."+suffix))
		require.NoError(t, err)
		for _, file := range files {
			data, _ := os.ReadFile(file) // it may have gone meanwhile
			for _, quoted := range strings.Split(string(data), `"`) {
				if len(quoted) == 36 {
					into[quoted] = true
				}
			}
		}
	}
	count := 0
	for _, id := range s.ids {
		if held[id] && !gone[id] {
			count++
		}
	}
	return count
}

// await waits until everything has arrived, and fails if anything did twice.
func (s *spooled) await(t *testing.T, w *world, a *node) {
	t.Helper()
	open := s.deployments
	awaitSpool(t, w, "all results to arrive", func() bool {
		for len(open) > 0 {
			var d deployment
			if w.ask("GET", "/deployments/"+open[0].ID, nil, &d) != nil || d.State != "succeeded" {
				return false
			}
			open = open[1:]
		}
		return true
	})
	for n, one := range s.deployments {
		d := deployment{}
		w.must(t, "GET", "/deployments/"+one.ID, nil, &d)
		var told []string
		for _, e := range d.Timeline {
			if e.Source == "device" {
				told = append(told, e.Message)
			}
		}
		var want []string
		for step := range spoolSteps {
			want = append(want, spooledResult(n, step))
		}
		slices.Sort(told)
		require.Equal(t, want, told, "each result once: %s", d.story())
		require.Equal(t, spooledResult(n, spoolSteps-1), d.Output)
	}
	var got map[string]int
	awaitSpool(t, w, "all lines to arrive", func() bool {
		got = w.lines(t, a)
		for n := range s.lines {
			if got["deploy/info/"+spooledLine(n)] == 0 {
				return false
			}
		}
		return true
	})
	for n := range s.lines {
		require.Equal(t, 1, got["deploy/info/"+spooledLine(n)], spooledLine(n))
	}
}

// compareLog holds the lines on the server against those in the agent's own file. A line is forwarded before it is
// written there, so each that is there must be on the server; a kill between the two may leave one more there.
func (s *spooled) compareLog(t *testing.T, w *world, a *node) {
	t.Helper()
	written := map[string]int{}
	files, err := filepath.Glob(filepath.Join(a.data, "log", "agent.log*"))
	require.NoError(t, err)
	asked := false
	for _, file := range slices.Backward(slices.Sorted(slices.Values(files))) {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, text := range strings.Split(string(data), "\n") {
			_, rest, ok := strings.Cut(text, " [")
			task, rest, ok2 := strings.Cut(rest, "][")
			level, message, ok3 := strings.Cut(rest, "] ")
			if !ok || !ok2 || !ok3 {
				continue
			}
			if strings.HasPrefix(message, "the server asks for log lines") {
				asked = true
			}
			if !asked || staysHere(message) {
				continue
			}
			if strings.HasPrefix(message, "checked in ") {
				message = "checked in"
			}
			written[task+"/"+strings.ToLower(level)+"/"+message]++
		}
	}
	require.Greater(t, written["core/info/agent starts data="+a.data+" servers=1"], *spoolKills/4, "the log of every start")
	var got map[string]int
	missing := func() (list []string) {
		for what, count := range written {
			if got[what] < count {
				list = append(list, fmt.Sprintf("%d of %d of %s", count-got[what], count, what))
			}
		}
		return list
	}
	awaitEvery(t, 10*chaosTick, patience, "every line of the agent's own log", func() (bool, string) {
		w.keep(t)
		got = w.lines(t, a)
		list := missing()
		return len(list) == 0, strings.Join(list, "\n")
	})
	kills := 0
	for _, count := range a.kills() {
		kills += count
	}
	lines, more := 0, 0
	for what, count := range written {
		lines += count
		if what != "core/debug/checked in" { // one may have come after the file was read
			more += got[what] - count
		}
	}
	for what := range got {
		_, rest, _ := strings.Cut(what, "/")
		_, message, _ := strings.Cut(rest, "/")
		require.False(t, staysHere(message), "each such line would make another: %s", what)
	}
	require.LessOrEqual(t, more, kills+10, "lines that the agent did not write")
	t.Logf("%d lines of the agent's own log are all on the server; %d more than there, of %d kills of the agent", lines, more, kills)
}

// staysHere reports whether a line is about deliveries, which are not forwarded.
func staysHere(message string) bool {
	for _, about := range []string{"deliver reports", "the server asks for log lines", "log lines are not forwarded"} {
		if strings.HasPrefix(message, about) {
			return true
		}
	}
	return false
}
