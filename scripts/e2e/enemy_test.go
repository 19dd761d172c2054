package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// conquered is a server after take-over whose whole data directory has fallen to an enemy, who also has a
// backup of its keys from before. What the enemy does not have is the new root and the author's key.
type conquered struct {
	s *server

	oldRoot, oldServer trust.PrivateKey // from the backup
	root, author       trust.PrivateKey // never on the server
	authorFile         string
	chain              []json.RawMessage

	replayed []byte            // instruction that the server signed before take-over
	older    []byte            // author-signed, before honest, of the same package
	honest   []byte            // author-signed
	blobs    map[string][]byte // fragments of what the author signed

	mu sync.Mutex // of blobs
}

// captive is an enrolled device whose server has fallen.
type captive struct {
	*conquered
	agent *agent
	relay *relay
	enemy *enemyServer
	ran   string // the honest package adds a line to it
	evil  string // what the enemy wants to come into being
}

// honestScript writes beside the agent's data directory, which is six levels above its working directory.
const honestScript = `echo ran >> ../../../../../../ran`

// conquer makes a server, its devices, the take-over, and the fall. before, which may be nil, is called for
// each device when it has taken the new trust document, and the server is still its owner's.
func conquer(t *testing.T, names []string, before func(c *captive, name string)) (*conquered, map[string]*captive) {
	t.Helper()
	w := &conquered{s: startServer(t, ""), blobs: map[string][]byte{}}
	w.oldRoot, w.oldServer = w.s.key(t, "root"), w.s.key(t, "server")
	w.replayed = w.s.signed(t, w.s.offer(t, spec{
		Name: "replayed", Priority: 5, Action: "execute", Command: []string{"touch", filepath.Join(w.s.data, "replayed-ran")},
	}))
	captives := map[string]*captive{}
	for _, name := range names {
		captives[name] = w.enroll(t)
	}
	w.takeOver(t)
	_, envelopes := w.sign(t, "honest")
	w.older, w.honest = envelopes[0], envelopes[1]

	var group sync.WaitGroup
	for _, c := range captives { // each takes the new trust document while the server is its owner's
		group.Go(func() { c.agent.once(t) })
	}
	group.Wait()
	if before != nil {
		for name, c := range captives {
			before(c, name)
		}
	}
	w.s.stop(t)
	return w, captives
}

// takeOver gives the server's right to sign to new keys, which it never sees.
func (w *conquered) takeOver(t *testing.T) {
	t.Helper()
	w.chain = append(w.chain, w.s.trustDocument(t))
	dir := t.TempDir()
	rootFile := filepath.Join(dir, "root.pem")
	w.authorFile = filepath.Join(dir, "author.pem")
	r := w.s.muster(t, "trust", "take-over", "--root-file", rootFile, "--author-file", w.authorFile, "--yes")
	require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
	var err error
	w.root, err = trust.LoadKey(rootFile)
	require.NoError(t, err)
	w.author, err = trust.LoadKey(w.authorFile)
	require.NoError(t, err)
	w.chain = append(w.chain, w.s.trustDocument(t))
	for _, name := range []string{"root.pem", "server.pem"} {
		require.NoFileExists(t, filepath.Join(w.s.data, "keys", name))
	}
}

// sign makes a package whose script counts its runs, and lets the author sign it twice.
func (w *conquered) sign(t *testing.T, name string) (packageID string, envelopes [][]byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive.tar.gz")
	padding := []byte(name + strings.Repeat(".", 1000))
	require.NoError(t, os.WriteFile(file, w.keep(t, tarGz(t, script("run.sh", honestScript), notes(padding))), 0o600))
	packageID = w.s.createPackage(t, "--name", name, "--version", "1", "--action", "launch", "--no-sign", file, "--", "run.sh")
	for range 2 {
		r := w.s.muster(t, "package", "sign", packageID, "--key", w.authorFile, "--archive", file, "--yes")
		require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
		envelopes = append(envelopes, w.s.signed(t, packageID))
	}
	w.s.call(t, "POST", "/packages/"+packageID+"/activate", nil, nil)
	return packageID, envelopes
}

// trustDocument is the server's newest one, as it travels.
func (s *server) trustDocument(t *testing.T) json.RawMessage {
	t.Helper()
	var d struct {
		Envelope []byte `json:"envelope"`
	}
	s.call(t, "GET", "/trust", nil, &d)
	require.NotEmpty(t, d.Envelope)
	return d.Envelope
}

// enroll makes a device that reaches the server by a relay of its own.
func (w *conquered) enroll(t *testing.T) *captive {
	t.Helper()
	dir := t.TempDir()
	c := &captive{
		conquered: w, agent: &agent{data: filepath.Join(dir, "agent")}, relay: startRelay(t, "127.0.0.1:"+w.s.port),
		ran: filepath.Join(dir, "ran"), evil: filepath.Join(dir, "evil"),
	}
	e, err := protocol.ParseEnrollment(w.s.enrollment(t))
	require.NoError(t, err)
	e.URLs = []string{c.relay.url}
	succeed(t, nil, "muster-agent", "enroll", "--data", c.agent.data, "--name", "fallen", e.String())
	c.agent.device = c.agent.id(t)
	return c
}

// keep cuts an archive as the server does, and returns it.
func (w *conquered) keep(t *testing.T, archive []byte) []byte {
	t.Helper()
	w.cut(t, archive)
	return archive
}

func (w *conquered) cut(t *testing.T, archive []byte) *instruction.Archive {
	t.Helper()
	a, err := fragment.Cut(bytes.NewReader(archive), fragment.DefaultSize, func(f instruction.Fragment, data []byte) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.blobs[f.SHA256] = bytes.Clone(data)
		return nil
	})
	require.NoError(t, err)
	a.Format = "tar.gz"
	return &a
}

// document is an instruction as an author, or an enemy, makes it.
func (w *conquered) document(t *testing.T, s instruction.Spec, archive []byte) *instruction.Instruction {
	t.Helper()
	s.ID, s.Version = uuid.NewString(), "1"
	if s.Name == "" {
		s.Name = "package-" + s.ID[:8]
	}
	var a *instruction.Archive
	if archive != nil {
		a = w.cut(t, archive)
	}
	i, err := instruction.Build(s, a, time.Now(), 0)
	require.NoError(t, err)
	return i
}

func signedWith(t *testing.T, i *instruction.Instruction, keys ...trust.PrivateKey) []byte {
	t.Helper()
	payload, err := i.Encode()
	require.NoError(t, err)
	return seal(t, payload, keys...)
}

// wish is what the enemy wants to run.
func (c *captive) wish(t *testing.T) *instruction.Instruction {
	t.Helper()
	return c.document(t, instruction.Spec{Action: instruction.Execute, Command: []string{"touch", c.evil}}, nil)
}

// task asks for what the envelope says, as the server would.
func (c *captive) task(t *testing.T, envelope []byte) protocol.Task {
	t.Helper()
	var i struct {
		ID, Name, Version string
		Priority          int
	}
	require.NoError(t, json.Unmarshal(openEnvelope(t, envelope).Payload, &i))
	attempt := uuid.Must(uuid.NewV7()).String()
	return protocol.Task{ID: attempt, Kind: protocol.TaskDeploy, Deploy: &protocol.DeployTask{
		DeploymentID: uuid.NewString(), AttemptID: attempt, Attempt: 1,
		PackageID: i.ID, PackageName: i.Name, Version: i.Version, Priority: i.Priority, Instruction: c.enemy.serve(envelope),
	}}
}

// try offers what the envelope says and returns the last thing that the device reports of it.
func (c *captive) try(t *testing.T, envelope []byte) protocol.DeploymentReport {
	t.Helper()
	return c.tryTask(t, c.task(t, envelope))
}

func (c *captive) tryTask(t *testing.T, task protocol.Task) protocol.DeploymentReport {
	t.Helper()
	c.enemy.attack(nil, task)
	r := c.once(t)
	require.Zero(t, r.code, r.stderr)
	told := c.enemy.told(task.ID)
	require.NotEmpty(t, told, "the device reports nothing\n%s", r.stderr)
	require.NotNil(t, told[len(told)-1].Deployment)
	return *told[len(told)-1].Deployment
}

// requireRefused wants the attempt refused for the reason.
func (c *captive) requireRefused(t *testing.T, envelope []byte, reason protocol.Reason) {
	t.Helper()
	d := c.try(t, envelope)
	require.Equal(t, protocol.StateRefused, d.State, d.Message)
	require.Equal(t, reason, d.Reason, d.Message)
}

// mostMemory is what the agent may take, whatever it is sent, in bytes. An answer has at most 16 MB, and is
// held once as it came and once decoded.
const mostMemory = 96 << 20

// once lets the agent check in and carry out what it is told. That it fails may be right; that it dies,
// hangs or grows is not.
func (c *captive) once(t *testing.T) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program("muster-agent"), "once", "--data", c.agent.data)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Start())
	memory := peakMemory(cmd.Process.Pid)
	_ = cmd.Wait() // its exit code is told
	require.Less(t, <-memory, int64(mostMemory), "bytes of memory\n%s", tail(stderr.String(), 2000))
	require.NoError(t, ctx.Err(), "the agent hangs\n%s", tail(stderr.String(), 4000))
	code := cmd.ProcessState.ExitCode()
	require.Contains(t, []int{0, 1}, code, "the agent died: %s\n%s", cmd.ProcessState, tail(stderr.String(), 4000))
	require.NotContains(t, stderr.String(), "goroutine ", "a panic")
	return result{tail(stdout.String(), 4000), tail(stderr.String(), 4000), code}
}

// peakMemory watches a process and, when it is gone, tells how much memory it held at most, in bytes. (What
// the system accounts to a child after its end begins with the size of this test.)
func peakMemory(pid int) <-chan int64 {
	peak := make(chan int64, 1)
	go func() {
		var most int64
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			now := peakOf(pid)
			if now == 0 { // gone, or another system
				peak <- most
				return
			}
			most = max(most, now)
		}
	}()
	return peak
}

// times says how often the honest package ran.
func (c *captive) times(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile(c.ran)
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(t, err)
	return strings.Count(string(data), "ran\n")
}

// requireUnharmed wants the enemy's wish unfulfilled, the identity as it was, and an honest package to run.
func (c *captive) requireUnharmed(t *testing.T, identity []byte) {
	t.Helper()
	require.NoFileExists(t, c.evil)
	require.Equal(t, string(identity), string(c.file(t, "identity.json")), "the identity was changed")
	c.runHonest(t)
	require.NoFileExists(t, c.evil)
}

func (c *captive) runHonest(t *testing.T) {
	t.Helper()
	c.enemy.mu.Lock()
	c.enemy.trust, c.enemy.forgets = nil, false
	c.enemy.mu.Unlock()
	c.serveHonest(t)
	before := c.times(t)
	d := c.try(t, c.honest)
	require.Equal(t, protocol.StateSucceeded, d.State, "the honest package: %s %s", d.Reason, d.Message)
	require.Equal(t, before+1, c.times(t), "the honest package runs, once")
}

// serveHonest makes the enemy's server hand out what the author has signed.
func (c *captive) serveHonest(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for digest, data := range c.blobs {
		c.enemy.serveAs(digest, data)
	}
}

// file is a file in the folder that the device keeps of its server.
func (c *captive) file(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.agent.data, "servers", "fallen", name))
	require.NoError(t, err)
	return data
}

// way is one way to make a device run what no author signed. It leaves the device to requireUnharmed.
type way func(t *testing.T, c *captive)

// TestEnemy: after take-over the server's data directory, and a backup of its keys from before, are in the
// hands of an enemy, who answers in the server's place. No way leads to a command that no author signed,
// and the device goes on to run what an author did sign.
func TestEnemy(t *testing.T) {
	t.Parallel()
	ways := map[string]way{}
	for _, part := range []map[string]way{waysToForge(), waysToDistrust(), waysToSwap(), waysToAsk(), waysToAnswer(), waysToConnect()} {
		for name, w := range part {
			require.NotContains(t, ways, name)
			ways[name] = w
		}
	}
	names := slices.Sorted(maps.Keys(ways))
	require.GreaterOrEqual(t, len(names), 20)
	w, captives := conquer(t, names, nil)
	leaf := w.s.issue(t)
	t.Run("ways", func(t *testing.T) {
		for _, name := range names {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := captives[name]
				c.enemy = startEnemyServer(t, &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS13})
				c.relay.lead(c.enemy.address)
				c.serveHonest(t)
				identity := c.file(t, "identity.json")
				ways[name](t, c)
				c.relay.lead(c.enemy.address)
				c.requireUnharmed(t, identity)
			})
		}
	})
	require.NoFileExists(t, filepath.Join(w.s.data, "replayed-ran"))
}
