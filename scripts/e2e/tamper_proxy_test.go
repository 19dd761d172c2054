package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/muster/muster/packages/protocol"
)

// tampering is what happens to the answers that one device gets. A nil function changes nothing.
type tampering struct {
	trust    func(documents []json.RawMessage) []json.RawMessage
	envelope func(original []byte) []byte
	// damaged leaves the digest in the task as it is, as a careless mirror does: whoever means harm
	// changes it with the envelope.
	damaged  bool
	fragment func(data []byte) []byte
}

// tamperer stands between a server and its devices and changes what passes.
type tamperer struct {
	s  *server
	mu sync.Mutex
	by map[string]*tampering // device → what it suffers
	// forged are the envelopes that were made, by the digest under which they are asked for.
	forged map[string][]byte
}

// startTamperer starts a server whose devices reach it through the tamperer only.
func startTamperer(t *testing.T) *tamperer {
	t.Helper()
	port := freePort(t)
	p := &tamperer{by: map[string]*tampering{}, forged: map[string][]byte{}}
	p.s = startServer(t, "", "--public-url", "https://127.0.0.1:"+port)
	startProxy(t, p.s, port, p.modify)
	return p
}

// suffer sets what a device suffers from now on; nil is nothing.
func (p *tamperer) suffer(device string, what *tampering) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by[device] = what
}

func (p *tamperer) modify(res *http.Response) error {
	_, credential, _ := strings.Cut(res.Request.Header.Get("Authorization"), protocol.AuthorizationPrefix)
	device, _, _ := strings.Cut(credential, "_")
	p.mu.Lock()
	what := p.by[device]
	forged, isForged := p.forged[device+path.Base(res.Request.URL.Path)]
	p.mu.Unlock()
	if what == nil {
		return nil
	}
	switch dir := path.Dir(res.Request.URL.Path); {
	case res.Request.URL.Path == protocol.PathCheckIn && res.StatusCode == http.StatusOK:
		return p.checkIn(res, device, what)
	case dir == protocol.PathInstruction && isForged:
		replace(res, forged)
	case dir == protocol.PathFragment && what.fragment != nil:
		data, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		res.Body.Close()
		replace(res, what.fragment(data))
	}
	return nil
}

// checkIn changes trust documents, and makes the envelopes that the tasks will name.
func (p *tamperer) checkIn(res *http.Response, device string, what *tampering) error {
	var answer protocol.CheckInResponse
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	res.Body.Close()
	if what.trust != nil {
		answer.Trust = what.trust(answer.Trust)
	}
	for _, task := range answer.Tasks {
		if what.envelope == nil {
			break
		}
		original, err := p.fetch(res.Request, task.Deploy.Instruction)
		if err != nil {
			return err
		}
		envelope := what.envelope(original)
		if !what.damaged {
			sum := sha256.Sum256(envelope)
			task.Deploy.Instruction = hex.EncodeToString(sum[:])
		}
		p.mu.Lock()
		p.forged[device+task.Deploy.Instruction] = envelope
		p.mu.Unlock()
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	replace(res, body)
	return nil
}

// fetch gets an envelope from the server in the device's name.
func (p *tamperer) fetch(asked *http.Request, digest string) ([]byte, error) {
	req, err := http.NewRequestWithContext(asked.Context(), http.MethodGet, p.s.url+protocol.PathInstruction+"/"+digest, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", asked.Header.Get("Authorization"))
	res, err := p.s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %s", res.Status)
	}
	return io.ReadAll(res.Body)
}

// replace makes body the whole of a successful answer.
func replace(res *http.Response, body []byte) {
	res.StatusCode, res.Status = http.StatusOK, ""
	res.Body = io.NopCloser(bytes.NewReader(body))
	res.ContentLength = int64(len(body))
	res.Header.Set("Content-Length", strconv.Itoa(len(body)))
}
