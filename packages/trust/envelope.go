package trust

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/release"
	"github.com/muster/muster/packages/strictjson"
)

// maxSignatures bounds the work of verifying one envelope.
const maxSignatures = 32

// SignEnvelope signs the payload with every key and returns the envelope's bytes. Whoever calls it has
// recomputed and shown what the payload says.
func SignEnvelope(payloadType string, payload []byte, keys ...PrivateKey) ([]byte, error) {
	env, err := sign(payloadType, payload, keys)
	if err != nil {
		return nil, err
	}
	return encodeEnvelope(env)
}

// Cosign adds signatures to an envelope, for thresholds above one. Signatures that the same keys made
// before are replaced; the others stay as they are, unverified.
func Cosign(payloadType string, envelope []byte, keys ...PrivateKey) ([]byte, error) {
	env, payload, err := openEnvelope(payloadType, envelope, limitOf(payloadType))
	if err != nil {
		return nil, err
	}
	added, err := sign(payloadType, payload, keys)
	if err != nil {
		return nil, err
	}
	signatures := slices.DeleteFunc(env.Signatures, func(s dsse.Signature) bool {
		return slices.ContainsFunc(keys, func(k PrivateKey) bool { return k.ID() == s.KeyID })
	})
	env.Signatures = append(signatures, added.Signatures...)
	if len(env.Signatures) > maxSignatures {
		return nil, fault.New(fault.TooLarge, "the envelope would have %d signatures, %d are allowed", len(env.Signatures), maxSignatures)
	}
	return encodeEnvelope(env)
}

// limitOf is how long an envelope of the payload type may be, in bytes.
func limitOf(payloadType string) int {
	switch payloadType {
	case PayloadType:
		return MaxEnvelope
	case release.PayloadType:
		return release.MaxEnvelope
	default:
		return instruction.MaxEnvelope
	}
}

// ReadInstruction decodes an envelope's instruction, verifying nothing: it is for comparing it with one's
// own.
func ReadInstruction(envelope []byte) (*instruction.Instruction, error) {
	_, payload, err := openEnvelope(instruction.PayloadType, envelope, instruction.MaxEnvelope)
	if err != nil {
		return nil, err
	}
	return instruction.Decode(payload)
}

// MergeInstruction puts the signatures of two envelopes of the same instruction together, unverified. Two
// different instructions are a fault of code conflict.
func MergeInstruction(a, b []byte) ([]byte, error) {
	one, payload, err := openEnvelope(instruction.PayloadType, a, instruction.MaxEnvelope)
	if err != nil {
		return nil, err
	}
	two, other, err := openEnvelope(instruction.PayloadType, b, instruction.MaxEnvelope)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(payload, other) {
		return nil, fault.New(fault.Conflict, "the signatures are of different instructions")
	}
	for _, s := range two.Signatures {
		if !slices.Contains(one.Signatures, s) {
			one.Signatures = append(one.Signatures, s)
		}
	}
	if len(one.Signatures) > maxSignatures {
		return nil, fault.New(fault.TooLarge, "the envelope would have %d signatures, %d are allowed", len(one.Signatures), maxSignatures)
	}
	return encodeEnvelope(one)
}

func sign(payloadType string, payload []byte, keys []PrivateKey) (*dsse.Envelope, error) {
	signers := make([]dsse.Signer, 0, len(keys))
	for _, k := range keys {
		if k.id == "" {
			return nil, fault.New(fault.Invalid, "there is no key to sign with")
		}
		signers = append(signers, signer{k})
	}
	es, err := dsse.NewEnvelopeSigner(signers...)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "there is no key to sign with")
	}
	env, err := es.SignPayload(context.Background(), payloadType, payload)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return env, nil
}

func unsigned(payloadType string, payload []byte) *dsse.Envelope {
	return &dsse.Envelope{PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(payload), Signatures: []dsse.Signature{}}
}

func encodeEnvelope(env *dsse.Envelope) ([]byte, error) {
	b, err := json.Marshal(env)
	if err != nil {
		return nil, fmt.Errorf("encode envelope: %w", err)
	}
	return b, nil
}

// openEnvelope reads an envelope of the given payload type, verifying nothing. Its order is the rule of
// the package: size, then type, then payload.
func openEnvelope(payloadType string, envelope []byte, limit int) (*dsse.Envelope, []byte, error) {
	if len(envelope) > limit {
		return nil, nil, instruction.Refuse(protocol.ReasonMalformed, "the envelope is %d bytes long, %d are allowed", len(envelope), limit)
	}
	var env dsse.Envelope
	if err := strictjson.Decode(envelope, &env); err != nil {
		return nil, nil, instruction.Refuse(protocol.ReasonMalformed, "the envelope is malformed: %v", err)
	}
	if env.PayloadType != payloadType {
		return nil, nil, instruction.Refuse(protocol.ReasonPayloadType, "the envelope holds %.80q, expected %q", env.PayloadType, payloadType)
	}
	if len(env.Signatures) > maxSignatures {
		return nil, nil, instruction.Refuse(protocol.ReasonMalformed, "the envelope has %d signatures, %d are allowed", len(env.Signatures), maxSignatures)
	}
	payload, err := env.DecodeB64Payload()
	if err != nil {
		return nil, nil, instruction.Refuse(protocol.ReasonMalformed, "the envelope's payload is not base64")
	}
	return &env, payload, nil
}

// verify opens an envelope and returns its payload and the ids of those keys whose signatures are
// valid, each once. No valid signature is an error.
func verify(payloadType string, envelope []byte, limit int, keys []Key) ([]byte, []string, error) {
	env, _, err := openEnvelope(payloadType, envelope, limit)
	if err != nil {
		return nil, nil, err
	}
	verifiers := make([]dsse.Verifier, 0, len(keys))
	for _, k := range keys {
		verifiers = append(verifiers, verifier{k})
	}
	ev, err := dsse.NewMultiEnvelopeVerifier(1, verifiers...)
	if err != nil {
		return nil, nil, instruction.Refuse(protocol.ReasonSignature, "no key is trusted to sign this")
	}
	accepted, payload, err := ev.VerifyAndDecode(context.Background(), env)
	if err != nil {
		return nil, nil, instruction.Refuse(protocol.ReasonSignature, "no valid signature of a key that is trusted to sign this")
	}
	ids := make([]string, 0, len(accepted))
	for _, a := range accepted {
		if !slices.Contains(ids, a.KeyID) {
			ids = append(ids, a.KeyID)
		}
	}
	return payload, ids, nil
}
