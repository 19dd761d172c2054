package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/muster/muster/packages/atomicfile"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/instruction"
	"github.com/muster/muster/packages/protocol"
)

// verify gets the signed instruction and decides whether this device may act on it. What was verified is
// persisted, with the high-water mark of its serial, before anything is done by it.
func (d *deployment) verify(ctx context.Context) error {
	if d.in.Untrusted != "" {
		return d.wait(protocol.ReasonTrust, "%s", d.in.Untrusted)
	}
	id, err := d.store.Load()
	if err != nil {
		return err
	}
	doc, err := d.store.LoadTrust(id.RootKeyID)
	if err != nil {
		return end(protocol.StateRefused, protocol.ReasonTrust, "%v", err)
	}
	envelope, err := d.envelope(ctx)
	if err != nil {
		return err
	}
	i, keys, err := doc.VerifyInstruction(envelope)
	if err != nil {
		return err
	}
	if i.ID != d.task.PackageID || i.Name != d.task.PackageName || i.Version != d.task.Version {
		return end(protocol.StateRefused, protocol.ReasonMismatch, "the instruction is of %s %s (%s), the task of %s %s (%s)",
			i.Name, i.Version, i.ID, d.task.PackageName, d.task.Version, d.task.PackageID)
	}
	if i.Priority != d.task.Priority { // the order is the author's as well
		return end(protocol.StateRefused, protocol.ReasonMismatch, "the instruction has priority %d, the task %d", i.Priority, d.task.Priority)
	}
	serials, err := d.store.LoadSerials()
	if err != nil {
		return err
	}
	if seen := serials.Packages[i.Name]; i.Serial < seen {
		return end(protocol.StateRefused, protocol.ReasonSerial, "the instruction's serial %d of %s is older than %d, which was accepted before: sign it again", i.Serial, i.Name, seen)
	}
	if err := d.store.RaiseSerial(i.Name, i.Serial, i.IssuedAt); err != nil {
		return err
	}
	payload, err := i.Encode()
	if err != nil {
		return fmt.Errorf("encode the instruction: %w", err)
	}
	if err := atomicfile.Write(d.path(documentFile), payload, 0o600); err != nil {
		return fmt.Errorf("keep the instruction: %w", err)
	}
	d.doc = i
	d.log.Debug("instruction verified", "keys", keys, "serial", i.Serial)
	return nil
}

// envelope is the signed envelope with the digest that the task names, from disk or from the server.
func (d *deployment) envelope(ctx context.Context) ([]byte, error) {
	if data, err := os.ReadFile(d.path(envelopeFile)); err == nil && digest(data) == d.task.Instruction {
		return data, nil
	}
	data, err := d.client.Instruction(ctx, d.task.Instruction)
	if err != nil {
		if fault.Is(err, fault.TooLarge) {
			return nil, end(protocol.StateRefused, protocol.ReasonMalformed, "%v", err)
		}
		return nil, d.wait(protocol.ReasonStalled, "fetch the instruction: %v", err)
	}
	if got := digest(data); got != d.task.Instruction {
		return nil, end(protocol.StateRefused, protocol.ReasonMismatch, "the server sent an instruction with digest %.16s… for %.16s…", got, d.task.Instruction)
	}
	// Neither atomic nor synced: it is used only where its digest is right, and fetched again otherwise.
	if err := os.WriteFile(d.path(envelopeFile), data, 0o600); err != nil {
		return nil, fmt.Errorf("keep the envelope: %w", err)
	}
	return data, nil
}

// loadDocument reads the instruction that was verified before the command started. It is not verified
// again: a revocation that came meanwhile does not undo what has begun.
func (d *deployment) loadDocument() (*instruction.Instruction, error) {
	data, err := os.ReadFile(d.path(documentFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Internal, "the instruction of this attempt is gone")
	}
	if err != nil {
		return nil, fmt.Errorf("read the instruction: %w", err)
	}
	return instruction.Decode(data)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
