package release

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/strictjson"
)

// Encode writes the payload, the bytes that are signed. Only a valid document is encoded.
func (r *Release) Encode() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("check release: %w", err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // notes stay readable in what is shown before signing
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("encode release: %w", err)
	}
	payload := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(payload) > MaxBytes {
		return nil, fault.New(fault.TooLarge, "the release is %d bytes long, %d are allowed: use larger fragments or fewer builds", len(payload), MaxBytes)
	}
	return payload, nil
}

// Decode reads a payload whose signature has been verified. It refuses whatever two readers could
// understand differently (unknown, duplicate and case-variant keys, null, trailing data), a newer format,
// and a document that Validate refuses. Every error is an instruction.Refusal.
func Decode(payload []byte) (*Release, error) {
	if len(payload) > MaxBytes {
		return nil, instruction.Refuse(protocol.ReasonMalformed, "the release is %d bytes long, %d are allowed", len(payload), MaxBytes)
	}
	if err := strictjson.Scan(payload, nil); err != nil {
		return nil, malformed(err)
	}
	var head struct { // a newer document also has keys that this build does not know
		Format int `json:"format"`
	}
	if err := json.Unmarshal(payload, &head); err != nil {
		return nil, malformed(err)
	}
	if head.Format > Format {
		return nil, &instruction.Refusal{
			Reason: protocol.ReasonCritical,
			Err:    fault.New(fault.Unsupported, "the release has format %d, this build reads %d", head.Format, Format),
		}
	}
	var r Release
	if err := strictjson.Decode(payload, &r); err != nil {
		return nil, malformed(err)
	}
	if err := r.Validate(); err != nil {
		return nil, malformed(err)
	}
	return &r, nil
}

func malformed(err error) error {
	return &instruction.Refusal{
		Reason: protocol.ReasonMalformed, Err: fault.Wrap(err, fault.Untrusted, "the release is malformed"),
	}
}
