package inventory

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/muster/muster/agent/internal/client"
	"github.com/muster/muster/agent/internal/task"
	"github.com/muster/muster/packages/protocol"
)

// maxProblem is how much is told of one section's problem, in bytes: the head has room for all of them.
const maxProblem = 400

// Summary is what became of an inventory.
type Summary struct {
	sections, Sent int
	problems       []string // "monitors: no answer in 10s"
}

// String says it to people.
func (s Summary) String() string {
	text := fmt.Sprintf("%d sections, %d of them new to the server", s.sections, s.Sent)
	if len(s.problems) > 0 {
		text += "; " + strings.Join(s.problems, "; ")
	}
	return cut(text, protocol.MaxMessage)
}

// take collects the sections, tells the server their digests, and sends those that it does not have.
func (t Task) take(ctx context.Context, in task.Input, c *client.Client, log *slog.Logger) (Summary, error) {
	begun := time.Now()
	o := Options{Processes: in.Processes, Software: t.Software, Log: log}
	if in.Task.Inventory != nil {
		o.Sections = in.Task.Inventory.Sections
	}
	collect := t.Take
	if collect == nil {
		collect = Collect
	}
	found := collect(ctx, o)
	if err := ctx.Err(); err != nil {
		return Summary{}, err
	}
	return Send(ctx, c, begun, time.Since(begun), found)
}

// Send tells the server the digests of sections that were found at a time, and sends those that it does not have.
// Their lines are let go of on the way.
func Send(ctx context.Context, c *client.Client, at time.Time, took time.Duration, found []Section) (Summary, error) {
	head, sum := headOf(found)
	head.CollectedAt, head.DurationMS = at.UTC(), took.Milliseconds()
	answer, err := c.Inventory(ctx, head)
	if err != nil {
		return sum, fmt.Errorf("send the inventory: %w", err)
	}
	wanted := map[string]bool{}
	for _, name := range answer.Want {
		wanted[name] = true
	}
	for n, s := range found {
		if wanted[s.Name] && head.Sections[n].SHA256 != "" {
			if err := c.Section(ctx, client.Section{
				Name: s.Name, SHA256: s.SHA256, CollectedAt: head.CollectedAt, Lines: s.Lines, Incomplete: s.Incomplete,
			}); err != nil {
				return sum, fmt.Errorf("send section %s of the inventory: %w", s.Name, err)
			}
			sum.Sent++
		}
		found[n].Lines = nil // not needed any more
	}
	return sum, nil
}

// headOf describes the sections. One that is over a limit is told without its rows.
func headOf(found []Section) (protocol.InventoryHead, Summary) {
	head := protocol.InventoryHead{Protocol: protocol.Version, Sections: []protocol.SectionHead{}}
	var sum Summary
	for _, s := range found {
		h := protocol.SectionHead{Name: s.Name, SHA256: s.SHA256, Rows: s.Rows, Bytes: int64(len(s.Lines)), Problem: cut(s.Problem, maxProblem), Columns: s.Columns}
		if s.Rows > protocol.MaxSectionRows || len(s.Lines) > protocol.MaxSectionBytes {
			h = protocol.SectionHead{Name: s.Name, Problem: fmt.Sprintf("%d rows of %d bytes are more than the %d rows and %d bytes that a server takes",
				s.Rows, len(s.Lines), protocol.MaxSectionRows, protocol.MaxSectionBytes)}
		}
		if h.Problem != "" {
			sum.problems = append(sum.problems, h.Name+": "+h.Problem)
		}
		head.Sections = append(head.Sections, h)
	}
	sum.sections = len(head.Sections)
	return head, sum
}

// cut shortens a text to at most so many bytes of valid UTF-8.
func cut(s string, most int) string {
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}
