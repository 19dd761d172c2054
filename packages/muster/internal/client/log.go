package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// LogLine is a log line that a device's agent has forwarded.
type LogLine struct {
	ID       string    `json:"id"`
	DeviceID string    `json:"device_id"`
	Hostname string    `json:"hostname"`
	Time     time.Time `json:"time"`
	Task     string    `json:"task"`
	Level    string    `json:"level"`
	Message  string    `json:"message"`
	Dropped  int64     `json:"dropped,omitempty"`
}

// LogSetting is what a device forwards.
type LogSetting struct {
	DeviceID        string     `json:"device_id"`
	Hostname        string     `json:"hostname"`
	Level           string     `json:"level"`
	Until           *time.Time `json:"until,omitempty"`
	After           string     `json:"after,omitempty"`
	FromGroups      bool       `json:"from_groups"`
	FollowUntil     *time.Time `json:"follow_until,omitempty"`
	SetBy           string     `json:"set_by,omitempty"`
	Allowed         bool       `json:"allowed"`
	Lines           int64      `json:"lines"`
	DroppedByDevice int64      `json:"dropped_by_device"`
	DroppedByServer int64      `json:"dropped_by_server"`
}

// NewLogLevel is a level to set, for good or for some time.
type NewLogLevel struct {
	Level      string `json:"level"`
	ForSeconds int    `json:"for_seconds,omitempty"`
	After      string `json:"after,omitempty"`
}

// Logs lists forwarded lines in the order that query asks for, at most limit; 0 is all. query may have device_id,
// task, level, from, to, q, order and after. A search that the server does in parts may have empty ones.
func (c *Client) Logs(ctx context.Context, query url.Values, limit int) ([]LogLine, error) {
	q := url.Values{}
	for k, v := range query {
		if len(v) > 0 && v[0] != "" {
			q[k] = v
		}
	}
	all := []LogLine{}
	for {
		n := pageSize
		if limit > 0 {
			n = min(n, limit-len(all))
		}
		q.Set("limit", strconv.Itoa(n))
		var p page[LogLine]
		if err := c.call(ctx, http.MethodGet, "/logs", q, nil, &p); err != nil {
			return nil, err
		}
		all = append(all, p.Items...)
		if p.Next == "" || limit > 0 && len(all) >= limit {
			return all, nil
		}
		q.Set("cursor", p.Next)
	}
}

// DeviceLog shows what a device forwards.
func (c *Client) DeviceLog(ctx context.Context, id string) (LogSetting, error) {
	return get[LogSetting](ctx, c, "/devices"+seg(id)+"/log")
}

// SetDeviceLog sets what a device forwards.
func (c *Client) SetDeviceLog(ctx context.Context, id string, in NewLogLevel) (LogSetting, error) {
	var out LogSetting
	err := c.call(ctx, http.MethodPut, "/devices"+seg(id)+"/log", nil, in, &out)
	return out, err
}

// FollowDeviceLog asks a device to forward lines as they come, for some time from now.
func (c *Client) FollowDeviceLog(ctx context.Context, id string, d time.Duration) (LogSetting, error) {
	return post[LogSetting](ctx, c, "/devices"+seg(id)+"/log/follow", map[string]int{"for_seconds": int(d / time.Second)})
}
