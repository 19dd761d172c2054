//go:build linux

package e2e_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/scripts/chaos/overlay"
	"github.com/muster/muster/scripts/chaos/point"
	"github.com/muster/muster/scripts/chaos/verdict"
)

var (
	chaosKills   = flag.Int("chaos.kills", 60, "kills in TestChaos")
	chaosDevices = flag.Int("chaos.devices", 3, "devices in TestChaos")
	chaosSeed    = flag.Uint64("chaos.seed", 0, "chance in TestChaos; 0 takes another one each time")
	chaosFaults  = flag.Bool("chaos.faults", false, "run TestChaos_plantedFaults, which takes minutes")
)

// Pace of the injuries. Whether something is wrong does not depend on it, only how much happens at once.
const (
	chaosTick   = 20 * time.Millisecond
	chaosPause  = 400 * time.Millisecond // longest, from one injury to the next
	chaosLook   = 200 * time.Millisecond // from one look at what there is to do to the next
	armedFor    = 3 * time.Second        // then another point is chosen
	chaosWork   = 3                      // live deployments of a device below which there is more to do
	chaosQuiet  = 20 * time.Second       // without any change, after which nothing more will come
	chaosSettle = 3 * time.Minute        // for everything to come to its end when no one is killed any more
)

// TestChaos kills server, residents, tasks and runners at every point at which something is written down,
// and anywhere else, cuts the power of whole devices, and starts them again, while packages of all kinds
// are handed out. Then what the commands wrote themselves, what the devices journalled and what the
// server has in its rows must agree.
func TestChaos(t *testing.T) {
	t.Parallel()
	w := newWorld(t, overlay.Fault{}, *chaosDevices, nil)
	w.run(t, *chaosKills)
	w.settle(t)
	violations := verdict.Check(w.evidence(t))
	t.Log(w.summary())
	for _, v := range violations {
		t.Error(v)
	}
}

// TestChaos_plantedFaults shows that TestChaos would find the mistakes that it is there to find.
func TestChaos_plantedFaults(t *testing.T) {
	if !*chaosFaults {
		t.Skip("takes minutes; make chaos runs it")
	}
	want := map[string]struct {
		kinds []verdict.Kind
		aims  []string // injuries that bring the fault to light soonest
	}{
		"the server acknowledges before it has committed":     {[]verdict.Kind{verdict.ReportLost}, []string{"server.ingest.before-commit", "server.ingest.in-transaction"}},
		"the journal and the spool are not synced":            {[]verdict.Kind{verdict.RanTwice, verdict.Unannounced, verdict.ReportTwice, verdict.ReportLost}, []string{aimPower}},
		"started is journalled after the start":               {[]verdict.Kind{verdict.Unannounced, verdict.NeverBegun}, []string{"task.before-start", aimPower}},
		"the server takes a report twice":                     {[]verdict.Kind{verdict.ReportTwice}, []string{"server.ingest.after-commit", "session.before-ack", "spool.before-note"}},
		"the agent runs the command again after an interrupt": {[]verdict.Kind{verdict.RanTwice}, []string{"runner.started", "runner.exited", "SIGKILL runner"}},
	}
	for _, fault := range overlay.Faults() {
		t.Run(fault.Name, func(t *testing.T) {
			c, ok := want[fault.Name]
			require.True(t, ok, "no expectation for this fault")
			w := newWorld(t, fault, 2, c.aims)
			const tries = 4
			for range tries {
				w.run(t, 20)
				w.settle(t)
				for _, v := range verdict.Check(w.evidence(t)) {
					if slices.Contains(c.kinds, v.Kind) {
						t.Logf("found after %d kills: %s", w.kills(), v)
						return
					}
					t.Logf("also: %s", v.Kind)
				}
			}
			t.Error("the fault was not found: " + w.summary())
		})
	}
}

// aimPower aims at power cuts.
const aimPower = "power cut"

// world is a server with its devices, under attack.
type world struct {
	t        *testing.T
	random   *rand.Rand
	seed     uint64
	api      *server // as an admin sees it
	server   *node
	agents   []*node
	aims     []string
	ledger   string
	store    string
	packages map[string]verdict.Package
	made     int
	want     []kind // to be handed out next
	armed    map[*node]time.Time
	last     error // of the admin's requests
}

// newWorld starts a server and enrolls devices, which are killed in the middle of that already.
func newWorld(t *testing.T, fault overlay.Fault, devices int, aims []string) *world {
	t.Helper()
	w := &world{
		t: t, seed: *chaosSeed, aims: aims, packages: map[string]verdict.Package{}, armed: map[*node]time.Time{}, store: storeRoot(t),
	}
	if w.seed == 0 {
		w.seed = rand.Uint64()
	}
	t.Logf("again with the same chance: -chaos.seed %d", w.seed)
	w.random = rand.New(rand.NewPCG(w.seed, 0)) // chance, no secret
	dir := t.TempDir()
	w.ledger = filepath.Join(dir, "ledger")
	programs := chaosPrograms(t, fault)

	w.server = newNode(t, dir, filepath.Join(programs, "muster-server"), "server", overlay.ServerPoints())
	s := &server{data: w.server.data, port: freePort(t), httpPort: freePort(t)}
	s.url = "https://127.0.0.1:" + s.port
	password := filepath.Join(dir, "password")
	w.server.args = []string{"serve", "--data", s.data, "--listen", "127.0.0.1:" + s.port, "--http", "localhost:" + s.httpPort, "--admin-password-file", password}
	w.server.keep(t)
	w.api = s
	await(t, "the server", func() (bool, string) {
		data, err := os.ReadFile(password)
		s.password = strings.TrimSpace(string(data))
		return err == nil, "no password yet"
	})
	await(t, "the server's readiness", func() (bool, string) {
		res, err := (&http.Client{Timeout: patience}).Get("http://localhost:" + s.httpPort + "/readyz")
		if err != nil {
			return false, err.Error()
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK, res.Status
	})
	s.trustCA(t)
	s.login(t)
	enrollment := s.enrollment(t)
	for i := range devices {
		a := newNode(t, dir, filepath.Join(programs, "muster-agent"), fmt.Sprintf("agent-%d", i+1), overlay.AgentPoints())
		w.enroll(t, a, enrollment)
		w.agents = append(w.agents, a)
	}
	return w
}

// enroll makes an agent a device, killing it and the server on the way.
func (w *world) enroll(t *testing.T, a *node, enrollment string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(a.data, 0o700))
	config := `{"schedule": "@every 10s", "jitter": "0s", "log_level": "debug", "listener": {"enabled": false}}`
	require.NoError(t, os.WriteFile(filepath.Join(a.data, "agent.json"), []byte(config), 0o600))
	a.args = []string{"run", "--data", a.data}
	points := []string{"enroll.before-ask", "enroll.answered", "enroll.trusted", "file.identity.json.before-rename", "file.trust.json.before-rename", "file.identity.json.after-rename"}
	w.random.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	for _, name := range points[:3] {
		require.NoError(t, point.Arm(a.dir, name))
	}
	require.NoError(t, point.Arm(w.server.dir, []string{"server.enroll.before-commit", "server.enroll.after-commit"}[w.random.IntN(2)]))
	before := map[string]bool{}
	devices := func() (ids []string) {
		var page struct {
			Items []device `json:"items"`
		}
		await(t, "the list of devices", func() (bool, string) {
			w.server.keep(t)
			err := w.ask("GET", "/devices?limit=200", nil, &page)
			return err == nil, fmt.Sprint(err)
		})
		for _, d := range page.Items {
			ids = append(ids, d.ID)
		}
		return ids
	}
	for _, id := range devices() {
		before[id] = true
	}
	await(t, "the enrollment", func() (bool, string) {
		w.server.keep(t)
		err := a.command("enroll", "--data", a.data, enrollment).Run()
		return err == nil, fmt.Sprint(err)
	})
	for _, id := range devices() {
		if !before[id] {
			require.Empty(t, a.device, "one enrollment made two devices")
			a.device = id
		}
	}
	require.NotEmpty(t, a.device)
	require.NoError(t, point.Disarm(a.dir))
	require.NoError(t, point.Disarm(w.server.dir))
}

func (w *world) nodes() []*node { return append([]*node{w.server}, w.agents...) }

// keep starts again what has ended.
func (w *world) keep(t *testing.T) {
	t.Helper()
	for _, n := range w.nodes() {
		n.keep(t)
	}
}

func (w *world) kills() int {
	sum := 0
	for _, n := range w.nodes() {
		for _, count := range n.kills() {
			sum += count
		}
	}
	return sum
}

// run hands out packages and injures, until there were so many more kills.
func (w *world) run(t *testing.T, kills int) {
	t.Helper()
	until := w.kills() + kills
	next, look := time.Now(), time.Now()
	limit := time.Minute + time.Duration(kills)*5*time.Second
	awaitEvery(t, chaosTick, limit, fmt.Sprintf("%d kills", kills), func() (bool, string) {
		w.keep(t)
		if now := time.Now(); now.After(look) {
			w.work(t)
			look = now.Add(chaosLook)
		}
		for n, since := range w.armed {
			if len(point.Armed(n.dir)) == 0 {
				delete(w.armed, n)
			} else if time.Since(since) > armedFor {
				require.NoError(t, point.Disarm(n.dir))
				delete(w.armed, n)
			}
		}
		if now := time.Now(); now.After(next) {
			w.injure(t)
			next = now.Add(time.Duration(w.random.Int64N(int64(chaosPause))))
		}
		return w.kills() >= until, fmt.Sprintf("%d of %d; %v", w.kills(), until, w.last)
	})
	for _, n := range w.nodes() {
		require.NoError(t, point.Disarm(n.dir))
	}
	clear(w.armed)
}

// injure does one thing to one of the nodes.
func (w *world) injure(t *testing.T) {
	t.Helper()
	a := w.agents[w.random.IntN(len(w.agents))]
	if len(w.aims) > 0 && w.random.IntN(4) > 0 {
		w.aim(t, a, w.aims[w.random.IntN(len(w.aims))])
		return
	}
	switch n := w.random.IntN(20); {
	case n < 10:
		w.arm(t, a, a.target(w.random))
	case n < 14:
		w.arm(t, w.server, w.server.target(w.random))
	case n < 17:
		a.kill([]string{"run", "task", "runner"}[w.random.IntN(3)])
	case n < 18:
		w.server.kill("serve")
	default:
		a.cutPower(t, w.random)
	}
}

func (w *world) aim(t *testing.T, a *node, aim string) {
	t.Helper()
	role, signal := strings.CutPrefix(aim, "SIGKILL ")
	switch {
	case aim == aimPower:
		a.cutPower(t, w.random)
	case signal:
		a.kill(role)
	case strings.HasPrefix(aim, "server."):
		w.arm(t, w.server, aim)
	default:
		w.arm(t, a, aim)
	}
}

func (w *world) arm(t *testing.T, n *node, name string) {
	t.Helper()
	if _, armed := w.armed[n]; armed {
		return
	}
	require.NoError(t, point.Arm(n.dir, name))
	w.armed[n] = time.Now()
}

// live counts the deployments that are not over.
func live(rows []verdict.Deployment) int {
	count := 0
	for _, d := range rows {
		if d.Live {
			count++
		}
	}
	return count
}

// work hands out another package when there is little left to do, and has what holds back others run again.
func (w *world) work(t *testing.T) {
	t.Helper()
	rows := serverRows(t, w.server.data)
	w.runAgain(rows)
	if live(rows) >= chaosWork*len(w.agents) {
		return
	}
	if len(w.want) == 0 {
		w.want = kinds()
		w.random.Shuffle(len(w.want), func(i, j int) { w.want[i], w.want[j] = w.want[j], w.want[i] })
	}
	if w.last = w.offer(t, w.want[0]); w.last == nil {
		w.want = w.want[1:]
	}
	if w.random.IntN(8) == 0 { // another trust document; what it revokes is of no package here
		w.last = w.ask("POST", "/trust/revocations", map[string]any{"names": []string{uuid.NewString()}}, nil)
	}
}

// runAgain does what an admin does when a package of priority 0 was interrupted.
func (w *world) runAgain(rows []verdict.Deployment) {
	for _, d := range rows {
		if d.Live && d.State == "interrupted" {
			w.last = w.ask("POST", "/deployments/"+d.ID+"/retry", nil, nil)
		}
	}
}

// settle waits until everything has come to its end, and until all that is journalled has arrived.
func (w *world) settle(t *testing.T) {
	t.Helper()
	var state, before string
	quiet := chaosQuiet
	if w.aims == nil { // nothing is planted: whatever is missing is worth waiting for
		quiet *= 3
	}
	changed, deadline := time.Now(), time.Now().Add(chaosSettle)
	awaitEvery(t, 5*chaosTick, chaosSettle+patience, "the end of all deployments", func() (bool, string) {
		w.keep(t)
		rows := serverRows(t, w.server.data)
		w.runAgain(rows)
		missing, told := 0, 0
		for _, v := range verdict.Check(w.collect(t, rows)) {
			if v.Kind == verdict.ReportLost || v.Kind == verdict.Unfinished {
				missing++
			}
		}
		for _, d := range rows {
			told += len(d.Timeline)
		}
		state = fmt.Sprintf("%d live, %d reports or ends missing, %d rows in timelines; %v", live(rows), missing, told, w.last)
		if state != before {
			before, changed = state, time.Now()
		}
		if missing == 0 {
			return true, state
		}
		if time.Since(changed) > quiet || time.Now().After(deadline) {
			t.Log("not everything came to its end: " + state)
			return true, state
		}
		return false, state
	})
}

func (w *world) collect(t *testing.T, rows []verdict.Deployment) verdict.Evidence {
	t.Helper()
	e := verdict.Evidence{Packages: w.packages, Runs: ledger(t, w.ledger), Deployments: rows}
	for _, a := range w.agents {
		e.Journals = append(e.Journals, journals(t, a)...)
	}
	return e
}

// evidence stops everything and collects what is known.
func (w *world) evidence(t *testing.T) verdict.Evidence {
	t.Helper()
	for _, n := range slices.Backward(w.nodes()) {
		n.end(t)
	}
	return w.collect(t, serverRows(t, w.server.data))
}

// summary tells what was done, and what came of it.
func (w *world) summary() string {
	var b strings.Builder
	rows := serverRows(w.t, w.server.data)
	ends, attempts := map[string]int{}, 0
	for _, d := range rows {
		ends[d.State]++
		attempts += len(d.Attempts)
	}
	fmt.Fprintf(&b, "%d kills; %d packages, %d deployments %v, %d attempts, %d commands in the ledger",
		w.kills(), len(w.packages), len(rows), ends, attempts, len(ledger(w.t, w.ledger))/2)
	total, hits := map[string]int{}, map[string]int64{}
	for _, n := range w.nodes() {
		for name, count := range n.kills() {
			total[name] += count
		}
		for name, count := range point.Hits(n.dir) {
			hits[name] += count
		}
		for _, name := range n.points {
			hits[name] += 0
		}
	}
	var idle []string
	for _, name := range slices.Sorted(maps.Keys(hits)) {
		if hits[name] == 0 {
			idle = append(idle, name)
		} else {
			fmt.Fprintf(&b, "\n  %-40s %4d kills of %6d times reached", name, total[name], hits[name])
		}
		delete(total, name)
	}
	for _, name := range slices.Sorted(maps.Keys(total)) {
		fmt.Fprintf(&b, "\n  %-40s %4d", name, total[name])
	}
	fmt.Fprintf(&b, "\n  never reached: %v", idle)
	return b.String()
}
