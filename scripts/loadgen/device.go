package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// device is one simulated computer.
type device struct {
	fleet    *fleet
	number   int
	id       string
	bearer   string
	host     string
	instance string
	machine  string
	tls      *tls.Config
	woken    chan time.Time // holds the time of one wakeup that was not acted on yet

	talk  sync.Mutex   // one check-in at a time
	kept  *link        // the check-ins' connection, when it is kept
	under atomic.Bool  // a check-in of an open loop is under way
	quiet atomic.Int64 // until when the server wants to be left alone, in Unix nanoseconds

	work sync.Mutex // one task at a time, as on a computer
	send sync.Mutex // one batch of reports at a time

	mu       sync.Mutex
	trust    int
	socket   *websocket.Conn
	pending  *delivery
	attempts map[string]bool        // that were begun
	held     []*protocol.DeployTask // tasks that are put off
}

func newDevice(f *fleet, number int) *device {
	return &device{
		fleet: f, number: number, host: fmt.Sprintf("load-%s-%05d", f.name, number), instance: digits(16), machine: digits(16),
		tls: f.wire.tls(f.o.resume), woken: make(chan time.Time, 1), attempts: map[string]bool{},
	}
}

// digits are n random bytes in hex.
func digits(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// enroll makes the device known to the server, and verifies what it says about trust.
func (d *device) enroll(ctx context.Context, e protocol.Enrollment) error {
	secret := digits(32)
	req, err := d.fleet.wire.request(http.MethodPost, protocol.PathEnroll, "", protocol.EnrollRequest{
		Protocol: protocol.Version, Token: e.Token, Nonce: digits(32), SecretSHA256: protocol.HashSecret(secret),
		Facts: protocol.Facts{
			Hostname: d.host, OS: "linux", OSName: "Simulated", OSVersion: "1", Arch: "amd64", Cores: 2, MemoryBytes: 4 << 30,
			MachineID: d.machine, AgentVersion: "loadgen", ChangedAt: time.Now().UTC(), TasksAllowed: []string{protocol.TaskDeploy},
		},
	})
	if err != nil {
		return err
	}
	a, err := d.once(ctx, req, protocol.MaxCheckInAnswer)
	if err != nil {
		return err
	}
	var resp protocol.EnrollResponse
	if err := json.Unmarshal(a.body, &resp); err != nil {
		return fmt.Errorf("read the answer to an enrollment: %w", err)
	}
	if resp.State != protocol.DeviceActive {
		return fmt.Errorf("a device is %q after its enrollment", resp.State)
	}
	chain := make([][]byte, len(resp.Trust))
	for n, raw := range resp.Trust {
		chain[n] = raw
	}
	doc, err := trust.VerifyChain(e.Root, nil, chain)
	if err != nil {
		return err
	}
	d.id, d.bearer, d.trust = resp.DeviceID, protocol.Credential(resp.DeviceID, secret), doc.Version
	return nil
}

// once makes a request over a connection of its own.
func (d *device) once(ctx context.Context, req *http.Request, limit int64) (answer, error) {
	l, err := open(ctx, d.fleet.wire, d.fleet.wire.dialer(d.number), d.tls)
	if err != nil {
		return answer{}, err
	}
	defer l.close()
	req.Close = true
	return l.exchange(req, limit)
}

// request makes a request over the connection that the fleet's settings ask for. A kept one may have been
// closed by the server while nothing was sent; a new one is made then.
func (d *device) request(ctx context.Context, req *http.Request, limit int64) (answer, error) {
	if !d.fleet.o.keep {
		return d.once(ctx, req, limit)
	}
	for {
		fresh := d.kept == nil
		if fresh {
			l, err := open(ctx, d.fleet.wire, d.fleet.wire.dialer(d.number), d.tls)
			if err != nil {
				return answer{}, err
			}
			d.kept = l
		}
		a, err := d.kept.exchange(req, limit)
		var status *statusError
		failed := err != nil && !errors.As(err, &status)
		if a.last || failed {
			d.kept.close()
			d.kept = nil
		}
		if !failed || fresh || ctx.Err() != nil {
			return a, err
		}
		if req.Body, err = req.GetBody(); err != nil {
			return answer{}, err
		}
	}
}

// checkIn asks what to do and begins it. It returns how many tasks were offered.
func (d *device) checkIn(ctx context.Context) (int, error) {
	d.talk.Lock()
	defer d.talk.Unlock()
	d.mu.Lock()
	version, connected := d.trust, d.socket != nil
	d.mu.Unlock()
	req, err := d.fleet.wire.request(http.MethodPost, protocol.PathCheckIn, d.bearer, protocol.CheckInRequest{
		Protocol: protocol.Version, AgentVersion: "loadgen", InstanceID: d.instance, BootID: d.instance, MachineID: d.machine,
		Time: time.Now().UTC(), TrustVersion: version, Connected: connected,
	})
	if err != nil {
		return 0, err
	}
	a, err := d.request(ctx, req, protocol.MaxCheckInAnswer)
	if err != nil {
		return 0, err
	}
	var resp protocol.CheckInResponse
	if err := json.Unmarshal(a.body, &resp); err != nil {
		return 0, fmt.Errorf("read the answer to a check-in: %w", err)
	}
	if resp.State != protocol.DeviceActive {
		return 0, fmt.Errorf("the device is %q", resp.State)
	}
	d.take(ctx, resp.Tasks)
	return len(resp.Tasks), nil
}

// take begins the tasks that are new, or puts them off.
func (d *device) take(ctx context.Context, tasks []protocol.Task) {
	for _, t := range tasks {
		if t.Kind != protocol.TaskDeploy || t.Deploy == nil {
			continue
		}
		d.mu.Lock()
		known := d.attempts[t.Deploy.AttemptID]
		d.attempts[t.Deploy.AttemptID] = true
		put := !known && d.fleet.putOff.Load()
		if put {
			d.held = append(d.held, t.Deploy)
		}
		d.mu.Unlock()
		if !known && !put {
			d.fleet.busy.Go(func() { d.carryOut(ctx, t.Deploy) })
		}
	}
}

// release carries out what was put off.
func (d *device) release(ctx context.Context) {
	d.mu.Lock()
	held := d.held
	d.held = nil
	d.mu.Unlock()
	for _, t := range held {
		d.carryOut(ctx, t)
	}
}

// carryOut simulates a deployment: all its reports, in the order in which an agent makes them. Every tenth
// device fails. What the server does not take is sent until it does, as by an agent.
func (d *device) carryOut(ctx context.Context, t *protocol.DeployTask) {
	d.work.Lock()
	defer d.work.Unlock()
	end, reason, code := protocol.StateSucceeded, protocol.ReasonExitCode, 0
	if d.number%10 == 9 {
		end, code = protocol.StateFailed, 3
	}
	d.fleet.ledger.expect(t.DeploymentID, end)
	for _, state := range []protocol.State{
		protocol.StateAccepted, protocol.StateFetching, protocol.StateFetched, protocol.StateUnpacked, protocol.StateStarted, end,
	} {
		if state == protocol.StateFetching {
			d.until(ctx, func() error { return d.instruction(ctx, t.Instruction) })
		}
		r, err := newReport(t, state)
		if err != nil {
			d.fleet.problem(err)
			return
		}
		if state == end {
			r.Deployment.Reason, r.Deployment.ExitCode, r.Deployment.DurationMS = reason, &code, 1
			r.Deployment.Output, r.Deployment.OutputBytes = "simulated\n", 10
		}
		if !d.until(ctx, func() error { return d.deliver(ctx, []protocol.Report{r}) }) {
			return
		}
	}
}

// newReport is a report whose message names it: the server shows messages, and no ids.
func newReport(t *protocol.DeployTask, state protocol.State) (protocol.Report, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return protocol.Report{}, err
	}
	return protocol.Report{
		ID: id.String(), Kind: protocol.ReportDeployment, Time: time.Now().UTC(),
		Deployment: &protocol.DeploymentReport{DeploymentID: t.DeploymentID, AttemptID: t.AttemptID, State: state, Message: id.String()},
	}, nil
}

// instruction fetches the signed document, as a task process does, and checks its digest.
func (d *device) instruction(ctx context.Context, digest string) error {
	req, err := d.fleet.wire.request(http.MethodGet, protocol.PathInstruction+"/"+digest, d.bearer, nil)
	if err != nil {
		return err
	}
	a, err := d.once(ctx, req, 1<<20)
	if err != nil {
		return err
	}
	if got := protocol.HashSecret(string(a.body)); got != digest {
		return fmt.Errorf("the instruction %s has the digest %s", digest, got)
	}
	return nil
}

// until repeats what is refused or cut off, with growing and random pauses and never before the server
// wants it. It reports whether it was done before ctx ended.
func (d *device) until(ctx context.Context, do func() error) bool {
	pause := 200 * time.Millisecond
	for {
		err := do()
		if err == nil {
			return true
		}
		d.fleet.again.note(0, err)
		wait := mathrand.N(pause)
		var status *statusError
		if errors.As(err, &status) {
			if status.status < http.StatusInternalServerError && status.status != http.StatusTooManyRequests {
				d.fleet.problem(fmt.Errorf("device %s: %w", d.id, err))
				return false
			}
			wait += status.retryAfter
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
		pause = min(2*pause, 10*time.Second)
	}
}
