package protocol

import (
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/muster/muster/packages/fault"
)

// Decode reads one JSON message of at most limit bytes into v. Unknown fields are ignored. A longer
// message is a fault of code too_large; anything that is not one JSON value of v's shape is invalid.
func Decode(r io.Reader, limit int64, v any) error {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "read the message")
	}
	if int64(len(b)) > limit {
		return fault.New(fault.TooLarge, "the message is over its limit of %d bytes", limit)
	}
	return Unmarshal(b, v)
}

// Unmarshal decodes a message whose size the caller has bounded.
func Unmarshal(b []byte, v any) error {
	err := json.Unmarshal(b, v)
	if err == nil {
		return nil
	}
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return fault.Field(typ.Field, "%s must be a %s, not a %s", typ.Field, typ.Type, typ.Value)
	}
	return fault.New(fault.Invalid, "the message is not valid JSON: %v", err)
}

// Validate checks what a server may rely on before it stores a report: a UUIDv7 id, a known kind with
// its body, a state that devices report, and bounded valid text. Every error is a fault of code
// invalid or too_large.
func (r *Report) Validate() error {
	if id, err := uuid.Parse(r.ID); err != nil || id.Version() != 7 || len(r.ID) != 36 {
		return fault.Field("id", "report id %.40q is not a UUIDv7", r.ID)
	}
	switch {
	case r.Kind == ReportDeployment && r.Deployment != nil:
		return r.Deployment.validate()
	case r.Kind == ReportFacts && r.Facts != nil:
		return r.Facts.Validate()
	case r.Kind == ReportTask && r.Task != nil:
		return texts(MaxMessage, r.Task.TaskID, r.Task.Kind, string(r.Task.Reason), r.Task.Message)
	default:
		return fault.Field("kind", "report kind %.40q is unknown or its body is missing", r.Kind)
	}
}

func (d *DeploymentReport) validate() error {
	if !d.State.FromDevice() {
		return fault.Field("state", "a device cannot report state %.40q", d.State)
	}
	if _, err := uuid.Parse(d.DeploymentID); err != nil || len(d.DeploymentID) != 36 {
		return fault.Field("deployment_id", "%.40q is not a UUID", d.DeploymentID)
	}
	if _, err := uuid.Parse(d.AttemptID); err != nil || len(d.AttemptID) != 36 {
		return fault.Field("attempt_id", "%.40q is not a UUID", d.AttemptID)
	}
	if d.OutputBytes < 0 || d.DurationMS < 0 || d.Files < 0 || d.Bytes < 0 {
		return fault.Field("output_bytes", "counts cannot be negative")
	}
	if err := texts(MaxOutputTail, d.Output); err != nil {
		return err
	}
	return texts(MaxMessage, d.Message, d.Signal, string(d.Reason))
}

// Limits of Facts.
const (
	maxFact    = 512 // bytes of one text
	maxAddress = 256 // addresses of one kind
)

// Validate bounds what a device tells about itself.
func (f *Facts) Validate() error {
	if len(f.IPs) > maxAddress || len(f.MACs) > maxAddress || len(f.TasksAllowed) > maxAddress {
		return fault.New(fault.TooLarge, "facts list more than %d addresses or tasks", maxAddress)
	}
	if f.Cores < 0 || f.MemoryBytes < 0 {
		return fault.Field("facts", "counts cannot be negative")
	}
	for _, list := range [][]string{f.IPs, f.MACs, f.TasksAllowed} {
		if err := texts(maxFact, list...); err != nil {
			return err
		}
	}
	return texts(maxFact, f.Hostname, f.OS, f.OSName, f.OSVersion, f.Kernel, f.Arch, f.CPU, f.MachineID,
		f.Timezone, f.AgentVersion, f.BootID)
}

func texts(limit int, list ...string) error {
	for _, s := range list {
		if len(s) > limit {
			return fault.New(fault.TooLarge, "a text of %d bytes is over its limit of %d", len(s), limit)
		}
		if !utf8.ValidString(s) {
			return fault.New(fault.Invalid, "a text is not valid UTF-8")
		}
	}
	return nil
}
