package devicelog

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/muster/muster/packages/protocol"
)

// Line is a forwarded line as people see it.
type Line struct {
	ID       string    `json:"id" doc:"place among all lines; for after"`
	DeviceID string    `json:"device_id"`
	Hostname string    `json:"hostname" doc:"of the device at present"`
	Time     time.Time `json:"time" doc:"by the device's clock"`
	Task     string    `json:"task" doc:"kind of task that wrote it; core for the agent itself"`
	Level    string    `json:"level" enum:"debug,info,warn,error"`
	Message  string    `json:"message"`
	Dropped  int64     `json:"dropped,omitempty" doc:"this line stands for so many before it that are missing"`
}

// Filter narrows List; empty fields do not.
type Filter struct {
	DeviceID string
	Task     string
	Level    string    // and those that are worse
	From     time.Time // lines from then on
	To       time.Time // lines before
	Text     string    // part of the message, whatever its case
	Oldest   bool      // oldest first
	After    string    // place of the last one seen: a line's ID, or Found.Next
	Limit    int
}

// Found is a part of a list.
type Found struct {
	Lines []Line
	// Until is set when the search ended before it had found Limit lines, since it had looked at enough: what
	// comes after this time was not looked at.
	Until *time.Time
	Next  string // place at which to go on; empty at the end
}

// List returns lines, the newest first unless Oldest. It looks at a bounded number of lines: see Found.Until.
func (s *Service) List(ctx context.Context, f Filter) (Found, error) {
	q, some, err := s.query(ctx, f)
	if err != nil || !some {
		return Found{Lines: []Line{}}, err
	}
	var end *int64
	if q.sifts() {
		if end, err = s.store.end(ctx, q, s.window); err != nil {
			return Found{}, err
		}
	}
	rows, err := s.store.list(ctx, q, end)
	if err != nil {
		return Found{}, err
	}
	out := Found{}
	switch {
	case len(rows) > f.Limit:
		rows = rows[:f.Limit]
		out.Next = rows[f.Limit-1].position().String()
	case end != nil:
		until := timeOf(*end)
		out.Until, out.Next = &until, q.beyond(*end).String()
	}
	out.Lines, err = s.lines(ctx, rows)
	return out, err
}

// query is a filter by keys and numbers; some is false when nothing can be found.
func (s *Service) query(ctx context.Context, f Filter) (q query, some bool, err error) {
	q = query{
		task: f.Task, text: f.Text, oldest: f.Oldest, limit: f.Limit + 1, // one more tells whether another page follows
		level: max(1, levelOf(f.Level)), low: 0, high: math.MaxInt64,
	}
	if f.After != "" {
		at, err := parsePosition(f.After)
		if err != nil {
			return q, false, err
		}
		q.after = &at
	}
	if !f.From.IsZero() {
		q.low = keyAt(ceil(f.From))
	}
	if !f.To.IsZero() {
		q.high = keyAt(ceil(f.To)) - 1
	}
	if f.DeviceID == "" {
		return q, q.low <= q.high, nil
	}
	source, err := s.store.source(ctx, f.DeviceID)
	q.no = source.DeviceNo
	return q, q.no != 0 && q.low <= q.high, err
}

// ceil is the first whole millisecond that is not before t, within what a key can hold.
func ceil(t time.Time) time.Time {
	switch {
	case t.Year() < 1970:
		return time.UnixMilli(0)
	case t.Year() > 2200:
		t = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return t.Add(time.Millisecond - 1).Truncate(time.Millisecond)
}

func (s *Service) lines(ctx context.Context, rows []lineRow) ([]Line, error) {
	var numbers []int64
	for _, r := range rows {
		if !slices.Contains(numbers, r.DeviceNo) {
			numbers = append(numbers, r.DeviceNo)
		}
	}
	names, err := s.store.names(ctx, numbers)
	if err != nil {
		return nil, err
	}
	out := make([]Line, len(rows))
	for i, r := range rows {
		out[i] = Line{
			ID: r.position().String(), DeviceID: names[r.DeviceNo].DeviceID, Hostname: names[r.DeviceNo].Hostname, Time: time.UnixMilli(r.TimeMS).UTC(),
			Task: r.Task, Level: protocol.LogLevels[r.Level-1], Message: r.Message, Dropped: r.Dropped,
		}
	}
	return out, nil
}
