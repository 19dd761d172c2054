package instruction

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sort"

	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/packages/strictjson"
)

// implemented names the fields that this build carries out. A document whose critical list names
// another is refused whole: half of an instruction is not what its author signed.
var implemented = map[string]bool{
	"priority": true, "action": true, "archive": true, "command": true, "store_path": true,
	"time_limit_seconds": true, "env": true, "exit_codes": true, "detect": true, "requires": true,
	"retry": true, "rerun": true, "needs_clean_boot": true, "private": true,
}

// Encode writes the payload, the bytes that are signed. Only a valid document is encoded.
func (i *Instruction) Encode() ([]byte, error) {
	if err := i.Validate(); err != nil {
		return nil, fmt.Errorf("check instruction: %w", err)
	}
	return i.marshal()
}

func (i *Instruction) marshal() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // arguments stay readable in what an author is shown before signing
	if err := enc.Encode(i); err != nil {
		return nil, fmt.Errorf("encode instruction: %w", err)
	}
	payload := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(payload) > MaxBytes {
		return nil, fault.New(fault.TooLarge, "the instruction is %d bytes long, %d are allowed: use larger fragments or a shorter command", len(payload), MaxBytes)
	}
	return payload, nil
}

// Decode reads a payload whose signature has been verified. It refuses whatever two readers could
// understand differently (unknown, duplicate and case-variant keys, null, trailing data), a critical
// feature that this build lacks, and a document that Validate refuses. Every error is a Refusal.
func Decode(payload []byte) (*Instruction, error) {
	if len(payload) > MaxBytes {
		return nil, Refuse(protocol.ReasonMalformed, "the instruction is %d bytes long, %d are allowed", len(payload), MaxBytes)
	}
	if err := strictjson.Scan(payload, nil); err != nil {
		return nil, refuseBecause(err, protocol.ReasonMalformed, "the instruction is malformed")
	}
	if err := checkCritical(payload); err != nil {
		return nil, err
	}
	var i Instruction
	if err := strictjson.Decode(payload, &i); err != nil {
		return nil, refuseBecause(err, protocol.ReasonMalformed, "the instruction is malformed")
	}
	if err := i.Validate(); err != nil {
		return nil, refuseBecause(err, protocol.ReasonMalformed, "the instruction is not valid")
	}
	return &i, nil
}

// checkCritical runs before the strict decoding, because a newer document that names a feature as
// critical also has keys that this build does not know, and the reason must say which of the two it is.
func checkCritical(payload []byte) error {
	var head struct {
		Format   int      `json:"format"`
		Critical []string `json:"critical"`
	}
	if err := json.Unmarshal(payload, &head); err != nil {
		return refuseBecause(err, protocol.ReasonMalformed, "the instruction is malformed")
	}
	if head.Format > Format {
		return unsupported("the instruction has format %d, this build reads %d: update it", head.Format, Format)
	}
	for _, name := range head.Critical {
		if !implemented[name] {
			return unsupported("the instruction needs %q, which this build does not implement: update it", name)
		}
	}
	return nil
}

func unsupported(format string, args ...any) error {
	return &Refusal{Reason: protocol.ReasonCritical, Err: fault.New(fault.Unsupported, format, args...)}
}

// Equal reports whether two documents say the same but for Serial, IssuedAt and ExpiresAt, which every
// signing sets anew.
func Equal(a, b *Instruction) bool { return len(Differences(a, b)) == 0 }

// Differences names the top-level fields in which two documents differ, sorted, without Serial,
// IssuedAt and ExpiresAt.
func Differences(a, b *Instruction) []string {
	left, right := a.fields(), b.fields()
	var names []string
	for name := range left {
		if !bytes.Equal(left[name], right[name]) {
			names = append(names, name)
		}
	}
	for name := range right {
		if _, ok := left[name]; !ok {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// fields is the document as its top-level fields, each encoded.
func (i *Instruction) fields() map[string]json.RawMessage {
	c := *i
	if c.Rerun == "" {
		c.Rerun = RerunNever // the same thing said in two ways
	}
	b, err := json.Marshal(&c)
	if err != nil { // strings, numbers and times within range always marshal
		return map[string]json.RawMessage{"document": json.RawMessage(err.Error())}
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return map[string]json.RawMessage{"document": json.RawMessage(err.Error())}
	}
	delete(m, "serial")
	delete(m, "issued_at")
	delete(m, "expires_at")
	return m
}
