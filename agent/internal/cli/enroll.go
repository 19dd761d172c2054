package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/identity"
	"github.com/muster/muster/agent/internal/removal"
	"github.com/muster/muster/agent/internal/resident"
	"github.com/muster/muster/packages/fault"
	"github.com/muster/muster/packages/protocol"
)

// maxEnrollmentFile bounds the file with an enrollment string, in bytes.
const maxEnrollmentFile = 16 << 10

// enroll makes this computer a device of a server.
func enroll(ctx context.Context, args []string, stdout io.Writer) error {
	set, data := flags("enroll")
	file := set.String("enrollment-file", "", "file with the enrollment string; - is the standard input")
	name := set.String("name", "", "name of the server in this agent")
	rest, err := parse(set, args, 1)
	if err != nil {
		return err
	}
	if (len(rest) == 1) == (*file != "") {
		return fmt.Errorf("%w: enroll takes the enrollment string or --enrollment-file FILE", errUsage)
	}
	text := ""
	if *file != "" {
		if text, err = readEnrollment(*file); err != nil {
			return err
		}
	} else {
		text = rest[0]
	}
	e, err := protocol.ParseEnrollment(text)
	if err != nil {
		return err
	}
	if *name == "" {
		*name = identity.NameFor(e)
	}
	if !config.ValidName(*name) {
		return fmt.Errorf("%w: %q cannot name a server: small letters, digits, dot, dash and underscore", errUsage, *name)
	}
	dir, err := dataDir(*data)
	if err != nil {
		return err
	}
	conf, err := config.Load(dir)
	if err != nil {
		return err
	}
	if removal.Marked(dir) { // which would take the new identity, too
		return fault.New(fault.Conflict, "the agent of %s is being removed from this computer: let it end, or end it with muster-agent uninstall, and enroll then", dir)
	}
	id, state, err := identity.Enroll(ctx, identity.Open(dir, *name), e, resident.Facts(conf, dir, *name))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "enrolled at %s as device %s (%s)\n", *name, id.DeviceID, state); err != nil {
		return err
	}
	if state == protocol.DevicePending {
		if _, err := fmt.Fprintln(stdout, "an administrator of the server must approve this device before it gets tasks"); err != nil {
			return err
		}
	}
	next := "start the agent with: muster-agent run --data " + dir
	if running, err := resident.Running(dir); err == nil && running {
		next = "the agent that runs on " + dir + " takes this server up by itself"
	}
	_, err = fmt.Fprintln(stdout, next)
	return err
}

func readEnrollment(path string) (string, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return "", fmt.Errorf("read the enrollment string: %w", err)
		}
		defer f.Close()
	}
	b, err := io.ReadAll(io.LimitReader(f, maxEnrollmentFile+1))
	if err != nil {
		return "", fmt.Errorf("read the enrollment string: %w", err)
	}
	if len(b) > maxEnrollmentFile {
		return "", fault.New(fault.TooLarge, "%s is too large to be an enrollment string", path)
	}
	return string(b), nil
}
