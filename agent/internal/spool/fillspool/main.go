// Fillspool puts reports into the spool of an agent that does not run: `fillspool DIR`, with the reports as JSON, one
// after another, on its standard input. The end-to-end test of the spool calls it, for an agent could not make as
// many results while its server is away. It is part of no package; killed half-way it leaves what it had added.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/muster/muster/agent/internal/spool"
	"github.com/muster/muster/packages/protocol"
)

// portion is how many reports are added at once.
const portion = 50

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fillspool DIR < REPORTS")
		os.Exit(2)
	}
	if err := fill(os.Args[1], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "fillspool:", err)
		os.Exit(1)
	}
}

//fuzz:none a test wrote it
func fill(dir string, from io.Reader) (err error) {
	s, err := spool.Open(dir, spool.Limits{SegmentBytes: 64 << 10})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var reports []protocol.Report
	for in := json.NewDecoder(from); ; {
		var r protocol.Report
		err := in.Decode(&r)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read a report: %w", err)
		}
		if err == nil {
			reports = append(reports, r)
		}
		if len(reports) == portion || err != nil {
			if err := s.Add(context.Background(), reports...); err != nil {
				return err
			}
			reports = nil
		}
		if err != nil {
			return nil
		}
	}
}
