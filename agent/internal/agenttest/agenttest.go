// Package agenttest is a server for tests of the agent: it speaks packages/protocol over real TLS, signs
// real packages, and keeps what it is told in memory. Only tests use it.
package agenttest

import (
	"archive/zip"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/fragment"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// Deadline is how long tests wait for a state.
const Deadline = time.Minute

// UntilFile is shell code that waits for a file, or for the end of the test that was to make it: a command outlives
// its agent, and must not outlive a test that fails.
func UntilFile(path string) string {
	return fmt.Sprintf("while [ -d '%s' ] && [ ! -e '%s' ]; do sleep 0.05; done", filepath.Dir(path), path)
}

// Server is the fake. Its hooks are set before the agent starts, or under Lock.
type Server struct {
	http  *httptest.Server
	ahead time.Duration
	ca    *x509.Certificate
	root  trust.PrivateKey
	Key   trust.PrivateKey // signs packages in the role author
	// ReleaseKey signs releases of the agent.
	ReleaseKey trust.PrivateKey

	sync.Mutex
	// Fail answers a request with this status when it is not 0; headers may be set.
	Fail func(w http.ResponseWriter, r *http.Request) int
	// Body replaces the body of a fragment.
	Body func(w http.ResponseWriter, sha256 string, data []byte) bool
	// NextSeconds goes into every answer to a check-in.
	NextSeconds int
	// Log is what answers to check-ins ask for of the log.
	Log         *protocol.LogSetting
	trust       []json.RawMessage
	blobs       map[string][]byte
	secrets     map[string]string // device → SHA-256 of its secret
	next        map[string]string
	nonces      map[string]string
	tasks       []protocol.Task
	checkIns    []protocol.CheckInRequest
	reports     []protocol.Report
	deliveries  map[string]int // how often a report came
	inventories []protocol.InventoryHead
	sections    map[string]string // name → SHA-256 of the lines that the server has
	puts        []string          // names of sections, as they came
	bySocket    int
	sockets     []*websocket.Conn
	writes      sync.Mutex
}

// New starts a server.
func New(t testing.TB) *Server {
	t.Helper()
	return NewAhead(t, 0)
}

// NewAhead starts a server whose clock is ahead of the agent's, or behind when it is negative.
func NewAhead(t testing.TB, ahead time.Duration) *Server {
	t.Helper()
	s := &Server{
		ahead: ahead,
		blobs: map[string][]byte{}, secrets: map[string]string{}, next: map[string]string{}, nonces: map[string]string{}, deliveries: map[string]int{},
		sections: map[string]string{},
	}
	var err error
	s.root, err = trust.GenerateKey()
	require.NoError(t, err)
	s.Key, err = trust.GenerateKey()
	require.NoError(t, err)
	s.ReleaseKey, err = trust.GenerateKey()
	require.NoError(t, err)
	s.Publish(t, &trust.Document{Version: 1, Keys: []trust.Key{
		s.root.Entry(trust.RoleRoot), s.Key.Entry(trust.RoleAuthor), s.ReleaseKey.Entry(trust.RoleRelease),
	}})
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+protocol.PathEnroll, s.enroll)
	mux.HandleFunc("POST "+protocol.PathCheckIn, s.device(s.checkIn))
	mux.HandleFunc("POST "+protocol.PathReports, s.device(s.takeReports))
	mux.HandleFunc("POST "+protocol.PathInventory, s.device(s.inventory))
	mux.HandleFunc("PUT "+protocol.PathInventory+"/{section}", s.device(s.section))
	mux.HandleFunc("POST "+protocol.PathRotate, s.device(s.rotate))
	mux.HandleFunc("GET "+protocol.PathInstruction+"/{sha}", s.device(s.blob))
	mux.HandleFunc("GET "+protocol.PathRelease+"/{sha}", s.device(s.blob))
	mux.HandleFunc("GET "+protocol.PathFragment+"/{sha}", s.device(s.blob))
	mux.HandleFunc("GET "+protocol.PathSocket, s.device(s.socket))
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Lock()
		fail := s.Fail
		s.Unlock()
		if fail != nil {
			if status := fail(w, r); status != 0 {
				_, _ = io.Copy(io.Discard, r.Body) // else the agent may meet a closed connection instead of the answer
				problem(w, status, "made to fail")
				return
			}
		}
		mux.ServeHTTP(w, r)
	}))
	s.http.TLS = s.certificates(t)
	s.http.StartTLS()
	t.Cleanup(func() {
		s.DropSockets()
		s.http.Close()
	})
	return s
}

// Publish signs a next trust document with the root and offers it.
func (s *Server) Publish(t testing.TB, d *trust.Document) {
	t.Helper()
	d.Format, d.IssuedAt = trust.Format, time.Now().UTC().Truncate(time.Second)
	envelope, err := d.Sign(s.root)
	require.NoError(t, err)
	s.Lock()
	defer s.Unlock()
	s.trust = append(s.trust, envelope)
}

// Root is the root key's public entry.
func (s *Server) Root() trust.Key { return s.root.Entry(trust.RoleRoot) }

func (s *Server) certificates(t testing.TB) *tls.Config {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: s.now().Add(-time.Hour), NotAfter: s.now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	require.NoError(t, err)
	s.ca, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test server"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"muster.test"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, s.ca, &key.PublicKey, caKey)
	require.NoError(t, err)
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{leafDER, der}, PrivateKey: key}}}
}

// now is the server's clock.
func (s *Server) now() time.Time { return time.Now().Add(s.ahead) }

// URL is the server's address.
func (s *Server) URL() string { return s.http.URL }

// Enrollment is what an administrator would hand out.
func (s *Server) Enrollment() protocol.Enrollment {
	sum := sha256.Sum256(s.ca.Raw)
	return protocol.Enrollment{URLs: []string{s.URL()}, Token: "token", CA: hex.EncodeToString(sum[:]), Root: s.root.ID()}
}

// Zip makes an archive.
func Zip(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f, err := w.Create(name)
		require.NoError(t, err)
		_, err = f.Write([]byte(files[name]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

// Package is a signed package that Offer hands out.
type Package struct {
	Doc    *instruction.Instruction
	Digest string // of the envelope
}

// Add builds and signs a package. archive is a zip, or nil. change may alter the document before it is
// signed.
func (s *Server) Add(t testing.TB, spec instruction.Spec, zip []byte, change func(*instruction.Instruction)) Package {
	t.Helper()
	if spec.ID == "" {
		spec.ID = uuid.NewString()
	}
	if spec.Name == "" {
		spec.Name = "package-" + spec.ID[:8]
	}
	if spec.Version == "" {
		spec.Version = "1.0"
	}
	var a *instruction.Archive
	if zip != nil {
		cut, err := fragment.Cut(bytes.NewReader(zip), 64<<10, func(f instruction.Fragment, data []byte) error {
			s.Lock()
			defer s.Unlock()
			s.blobs[f.SHA256] = bytes.Clone(data)
			return nil
		})
		require.NoError(t, err)
		cut.Format = "zip"
		a = &cut
	}
	doc, err := instruction.Build(spec, a, time.Now(), 0)
	require.NoError(t, err)
	if change != nil {
		change(doc)
	}
	return s.Sign(t, doc, s.Key)
}

// Sign signs a document and serves its envelope.
func (s *Server) Sign(t testing.TB, doc *instruction.Instruction, keys ...trust.PrivateKey) Package {
	t.Helper()
	payload, err := doc.Encode()
	require.NoError(t, err)
	envelope, err := trust.SignEnvelope(instruction.PayloadType, payload, keys...)
	require.NoError(t, err)
	sum := sha256.Sum256(envelope)
	p := Package{Doc: doc, Digest: hex.EncodeToString(sum[:])}
	s.Lock()
	defer s.Unlock()
	s.blobs[p.Digest] = envelope
	return p
}

// Task makes a first attempt of a package.
func Task(p Package) protocol.Task {
	return protocol.Task{ID: uuid.NewString(), Kind: protocol.TaskDeploy, Deploy: &protocol.DeployTask{
		DeploymentID: uuid.NewString(), AttemptID: uuid.Must(uuid.NewV7()).String(), Attempt: 1, PackageID: p.Doc.ID,
		PackageName: p.Doc.Name, Version: p.Doc.Version, Priority: p.Doc.Priority, Instruction: p.Digest,
	}}
}

// Offer replaces the tasks that check-ins hand out. A task is offered until its attempt was reported
// final.
func (s *Server) Offer(tasks ...protocol.Task) {
	s.Lock()
	defer s.Unlock()
	s.tasks = tasks
}

// Wakeup tells every connected agent to check in.
func (s *Server) Wakeup() {
	s.Lock()
	conns := slices.Clone(s.sockets)
	s.Unlock()
	for _, c := range conns {
		s.write(c, protocol.SocketMessage{Type: protocol.SocketWakeup})
	}
}

// DropSockets cuts every WebSocket.
func (s *Server) DropSockets() {
	s.Lock()
	defer s.Unlock()
	for _, c := range s.sockets {
		_ = c.Close()
	}
	s.sockets = nil
}

// Sockets counts the open WebSockets.
func (s *Server) Sockets() int {
	s.Lock()
	defer s.Unlock()
	return len(s.sockets)
}

// CheckIns lists the check-ins so far.
func (s *Server) CheckIns() []protocol.CheckInRequest {
	s.Lock()
	defer s.Unlock()
	return slices.Clone(s.checkIns)
}

// BySocket counts the reports that came by WebSocket.
func (s *Server) BySocket() int {
	s.Lock()
	defer s.Unlock()
	return s.bySocket
}

// Inventories lists the heads of the inventories so far.
func (s *Server) Inventories() []protocol.InventoryHead {
	s.Lock()
	defer s.Unlock()
	return slices.Clone(s.inventories)
}

// Puts lists the names of the sections that were sent so far.
func (s *Server) Puts() []string {
	s.Lock()
	defer s.Unlock()
	return slices.Clone(s.puts)
}

// Lose makes the server forget a section.
func (s *Server) Lose(section string) {
	s.Lock()
	defer s.Unlock()
	delete(s.sections, section)
}

// TaskStates lists the states reported of a task that is not a deployment, with their reasons.
func (s *Server) TaskStates(id string) []string {
	var out []string
	for _, r := range s.Reports() {
		if r.Task != nil && r.Task.TaskID == id {
			out = append(out, strings.TrimSuffix(string(r.Task.State)+"/"+string(r.Task.Reason), "/"))
		}
	}
	return out
}

// Reports lists the reports so far, each id once, in the order they came.
func (s *Server) Reports() []protocol.Report {
	s.Lock()
	defer s.Unlock()
	return slices.Clone(s.reports)
}

// States lists the states reported of an attempt, with their reasons.
func (s *Server) States(attempt string) []string {
	var out []string
	for _, r := range s.Reports() {
		if r.Deployment != nil && r.Deployment.AttemptID == attempt {
			text := string(r.Deployment.State)
			if r.Deployment.Reason != "" {
				text += "/" + string(r.Deployment.Reason)
			}
			out = append(out, text)
		}
	}
	return out
}

// AwaitFinal waits for the final report of a task's attempt.
func (s *Server) AwaitFinal(t testing.TB, task protocol.Task) protocol.DeploymentReport {
	t.Helper()
	var found *protocol.DeploymentReport
	require.Eventually(t, func() bool {
		for _, r := range s.Reports() {
			if d := r.Deployment; d != nil && d.AttemptID == task.Deploy.AttemptID && d.State.Final() {
				found = d
			}
		}
		return found != nil
	}, Deadline, 10*time.Millisecond, "the attempt ends; reported so far: %v", s.States(task.Deploy.AttemptID))
	return *found
}

// Trust lists the published trust documents, oldest first.
func (s *Server) Trust() []json.RawMessage {
	s.Lock()
	defer s.Unlock()
	return slices.Clone(s.trust)
}

// Append offers an envelope as the next trust document, whoever signed it.
func (s *Server) Append(envelope json.RawMessage) {
	s.Lock()
	defer s.Unlock()
	s.trust = append(s.trust, envelope)
}

// Withdraw takes the newest trust document back.
func (s *Server) Withdraw() {
	s.Lock()
	defer s.Unlock()
	s.trust = s.trust[:len(s.trust)-1]
}

// SetSecret makes the digest that of a device's only valid secret.
func (s *Server) SetSecret(device, sum string) {
	s.Lock()
	defer s.Unlock()
	s.secrets[device] = sum
	delete(s.next, device)
}

// SetNext makes the server know the hash of a device's next secret.
func (s *Server) SetNext(device, sum string) {
	s.Lock()
	defer s.Unlock()
	s.next[device] = sum
}
