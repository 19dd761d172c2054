package agenttest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(protocol.Problem{Title: http.StatusText(status), Status: status, Detail: detail, Code: string(fault.FromStatus(status))})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (s *Server) enroll(w http.ResponseWriter, r *http.Request) {
	var req protocol.EnrollRequest
	if err := protocol.Decode(r.Body, protocol.MaxEnroll, &req); err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	if req.Token != "token" {
		problem(w, http.StatusUnauthorized, "the enrollment token is not valid")
		return
	}
	s.Lock()
	defer s.Unlock()
	id, known := s.nonces[req.Nonce]
	if !known {
		id = uuid.Must(uuid.NewV7()).String()
		s.nonces[req.Nonce] = id
	}
	s.secrets[id] = req.SecretSHA256
	answer(w, protocol.EnrollResponse{DeviceID: id, State: protocol.DeviceActive, ServerTime: s.now().UTC(), Trust: s.trust})
}

// Devices counts the devices that were made.
func (s *Server) Devices() int {
	s.Lock()
	defer s.Unlock()
	return len(s.secrets)
}

// Forget makes a device's present secret unknown.
func (s *Server) Forget(device string) {
	s.Lock()
	defer s.Unlock()
	delete(s.secrets, device)
	delete(s.next, device)
}

// Secret is the hash of a device's secret.
func (s *Server) Secret(device string) string {
	s.Lock()
	defer s.Unlock()
	return s.secrets[device]
}

func (s *Server) device(next func(http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, secret, ok := protocol.ParseCredential(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		sum := protocol.HashSecret(secret)
		s.Lock()
		if ok && s.next[id] != "" && s.next[id] == sum {
			s.secrets[id] = sum
			delete(s.next, id)
		}
		ok = ok && s.secrets[id] == sum
		s.Unlock()
		if !ok {
			problem(w, http.StatusUnauthorized, "unknown device or wrong secret")
			return
		}
		r.Header.Set("X-Device", id)
		next(w, r)
	}
}

func (s *Server) checkIn(w http.ResponseWriter, r *http.Request) {
	var req protocol.CheckInRequest
	if err := protocol.Decode(r.Body, protocol.MaxCheckIn, &req); err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	s.Lock()
	defer s.Unlock()
	s.checkIns = append(s.checkIns, req)
	resp := protocol.CheckInResponse{ServerTime: s.now().UTC(), State: protocol.DeviceActive, NextSeconds: s.NextSeconds, Log: s.Log, Tasks: []protocol.Task{}}
	if req.TrustVersion < len(s.trust) {
		resp.Trust = s.trust[req.TrustVersion:]
	}
	for _, t := range s.tasks {
		over := slices.ContainsFunc(s.reports, func(r protocol.Report) bool {
			switch {
			case r.Deployment != nil && t.Deploy != nil:
				return r.Deployment.AttemptID == t.Deploy.AttemptID && r.Deployment.State.Final()
			case r.Task != nil:
				return r.Task.TaskID == t.ID && r.Task.State.Final()
			default:
				return false
			}
		})
		if !over {
			resp.Tasks = append(resp.Tasks, t)
		}
	}
	answer(w, resp)
}

// ingest keeps reports and acknowledges them.
func (s *Server) ingest(reports []protocol.Report) protocol.Ack {
	s.Lock()
	defer s.Unlock()
	ack := protocol.Ack{IDs: []string{}}
	for _, r := range reports {
		if err := r.Validate(); err != nil {
			ack.Refused = append(ack.Refused, protocol.RefusedItem{ID: r.ID, Code: string(fault.CodeOf(err)), Message: err.Error()})
			continue
		}
		ack.IDs = append(ack.IDs, r.ID)
		if s.deliveries[r.ID]++; s.deliveries[r.ID] == 1 {
			s.reports = append(s.reports, r)
		}
	}
	return ack
}

func (s *Server) takeReports(w http.ResponseWriter, r *http.Request) {
	var req protocol.ReportsRequest
	if err := protocol.Decode(r.Body, protocol.MaxReportsBytes, &req); err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, s.ingest(req.Reports))
}

func (s *Server) inventory(w http.ResponseWriter, r *http.Request) {
	var head protocol.InventoryHead
	err := protocol.Decode(r.Body, protocol.MaxInventoryHead, &head)
	if err == nil {
		err = head.Validate()
	}
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	s.Lock()
	defer s.Unlock()
	s.inventories = append(s.inventories, head)
	want := protocol.InventoryAnswer{Want: []string{"unheard-of"}}
	for _, h := range head.Sections {
		if h.SHA256 != "" && s.sections[h.Name] != h.SHA256 {
			want.Want = append(want.Want, h.Name)
		}
	}
	answer(w, want)
}

func (s *Server) section(w http.ResponseWriter, r *http.Request) {
	unpack, err := gzip.NewReader(r.Body)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	lines, err := io.ReadAll(unpack)
	sum := sha256.Sum256(lines)
	digest := hex.EncodeToString(sum[:])
	_, terr := time.Parse(time.RFC3339Nano, r.FormValue("collected_at"))
	if err != nil || terr != nil || digest != r.FormValue("sha256") || r.Header.Get("Content-Type") != protocol.SectionContentType || r.Header.Get("Content-Encoding") != "gzip" {
		problem(w, http.StatusBadRequest, "a section that is not as it says")
		return
	}
	s.Lock()
	s.sections[r.PathValue("section")] = digest
	s.puts = append(s.puts, r.PathValue("section"))
	s.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) rotate(w http.ResponseWriter, r *http.Request) {
	var req protocol.RotateRequest
	if err := protocol.Decode(r.Body, protocol.MaxEnroll, &req); err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	s.Lock()
	s.next[r.Header.Get("X-Device")] = req.NextSHA256
	s.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) blob(w http.ResponseWriter, r *http.Request) {
	sha := r.PathValue("sha")
	s.Lock()
	data, ok := s.blobs[sha]
	body := s.Body
	s.Unlock()
	if !ok {
		problem(w, http.StatusNotFound, "no such blob")
		return
	}
	if body != nil && strings.HasPrefix(r.URL.Path, protocol.PathFragment) && body(w, sha, data) {
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func (s *Server) socket(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{protocol.SocketProtocol}}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.Lock()
	s.sockets = append(s.sockets, conn)
	s.Unlock()
	s.write(conn, protocol.SocketMessage{Type: protocol.SocketWakeup})
	defer func() {
		_ = conn.Close()
		s.Lock()
		s.sockets = slices.DeleteFunc(s.sockets, func(c *websocket.Conn) bool { return c == conn })
		s.Unlock()
	}()
	for {
		var m protocol.SocketMessage
		if err := conn.ReadJSON(&m); err != nil {
			return
		}
		if m.Type != protocol.SocketReports {
			continue
		}
		ack := s.ingest(m.Reports)
		s.Lock()
		s.bySocket += len(m.Reports)
		s.Unlock()
		s.write(conn, protocol.SocketMessage{Type: protocol.SocketAck, Ack: &ack})
	}
}

func (s *Server) write(c *websocket.Conn, m protocol.SocketMessage) {
	s.writes.Lock()
	defer s.writes.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_ = c.WriteJSON(m)
}
