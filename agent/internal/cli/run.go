package cli

import (
	"context"
	"errors"
	"io"

	"github.com/muster/muster/agent/internal/config"
	"github.com/muster/muster/agent/internal/local"
	"github.com/muster/muster/agent/internal/resident"
	"github.com/muster/muster/packages/logging"
)

// run stays until it is told to stop.
func run(ctx context.Context, args []string, stderr io.Writer) error {
	resident.Tune()
	return withResident("run", args, stderr, func(r *resident.Resident) error { return r.Run(ctx) })
}

// once checks in once, does what is asked and delivers.
func once(ctx context.Context, args []string, stderr io.Writer) error {
	return withResident("once", args, stderr, func(r *resident.Resident) error { return r.Once(ctx) })
}

func withResident(name string, args []string, stderr io.Writer, use func(*resident.Resident) error) error {
	set, data := flags(name)
	if _, err := parse(set, args, 0); err != nil {
		return err
	}
	dir, err := dataDir(*data)
	if err != nil {
		return err
	}
	conf, err := config.Load(dir)
	if err != nil {
		return err
	}
	o := resident.Options{DataDir: dir, Config: conf}
	if conf.Listener.Enabled { // its log action shows the last lines
		ring := new(local.Ring)
		stderr, o.LogTail = io.MultiWriter(ring, stderr), ring.Tail
	}
	o.Log, o.LogTo = logging.New(stderr, conf.Level(), logging.Tagged), stderr
	r, err := resident.New(o)
	if err != nil {
		return err
	}
	return errors.Join(use(r), r.Close())
}
