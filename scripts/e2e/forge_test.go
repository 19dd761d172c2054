package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/trust"
)

// envelope is a signed document as it travels.
type envelope struct {
	PayloadType string              `json:"payloadType"`
	Payload     []byte              `json:"payload"`
	Signatures  []envelopeSignature `json:"signatures"`
}

type envelopeSignature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

func openEnvelope(t *testing.T, data []byte) envelope {
	t.Helper()
	var e envelope
	require.NoError(t, json.Unmarshal(data, &e))
	return e
}

func (e envelope) bytes(t *testing.T) []byte {
	t.Helper()
	data, err := json.Marshal(e)
	require.NoError(t, err)
	return data
}

// flip is the data with its middle bit turned over.
func flip(data []byte) []byte {
	data = bytes.Clone(data)
	data[len(data)/2] ^= 1
	return data
}

// flipPayload keeps the signatures and changes one bit of what they sign.
func flipPayload(t *testing.T, data []byte) []byte {
	t.Helper()
	e := openEnvelope(t, data)
	e.Payload = flip(e.Payload)
	return e.bytes(t)
}

// flipSignatures changes one bit of every signature.
func flipSignatures(t *testing.T, data []byte) []byte {
	t.Helper()
	e := openEnvelope(t, data)
	for n := range e.Signatures {
		e.Signatures[n].Sig = flip(e.Signatures[n].Sig)
	}
	return e.bytes(t)
}

// seal signs any payload as an instruction.
func seal(t *testing.T, payload []byte, keys ...trust.PrivateKey) []byte {
	t.Helper()
	data, err := trust.SignEnvelope(instruction.PayloadType, payload, keys...)
	require.NoError(t, err)
	return data
}

// edited is the instruction in an envelope, changed and encoded again.
func edited(t *testing.T, data []byte, change func(*instruction.Instruction)) []byte {
	t.Helper()
	i, err := instruction.Decode(openEnvelope(t, data).Payload)
	require.NoError(t, err)
	change(i)
	payload, err := i.Encode()
	require.NoError(t, err)
	return payload
}

// with puts text at the beginning of a JSON object.
func with(payload []byte, text string) []byte {
	return []byte("{" + text + "," + strings.TrimPrefix(string(payload), "{"))
}

func newKey(t *testing.T) trust.PrivateKey {
	t.Helper()
	k, err := trust.GenerateKey()
	require.NoError(t, err)
	return k
}

func signedTrust(t *testing.T, d trust.Document, keys ...trust.PrivateKey) []byte {
	t.Helper()
	d.Format = trust.Format
	data, err := d.Sign(keys...)
	require.NoError(t, err)
	return data
}

// key is one of the server's private keys, as whoever holds its data directory has it.
func (s *server) key(t *testing.T, name string) trust.PrivateKey {
	t.Helper()
	k, err := trust.LoadKey(filepath.Join(s.data, "keys", name+".pem"))
	require.NoError(t, err)
	return k
}

// publish makes a trust document the server's newest.
func (s *server) publish(t *testing.T, document []byte) {
	t.Helper()
	s.call(t, "PUT", "/trust", map[string]any{"envelope": base64.StdEncoding.EncodeToString(document)}, nil)
}

// signed is the envelope of a package, from the server's blobs.
func (s *server) signed(t *testing.T, packageID string) []byte {
	t.Helper()
	var p struct {
		Digest string `json:"instruction_digest"`
	}
	s.call(t, "GET", "/packages/"+packageID, nil, &p)
	require.True(t, protocol.IsSHA256(p.Digest))
	data, err := os.ReadFile(filepath.Join(s.data, "blobs", p.Digest[:2], p.Digest))
	require.NoError(t, err)
	return data
}
