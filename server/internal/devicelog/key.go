package devicelog

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/muster/muster/packages/fault"
)

// A key orders the lines of a device and is unique among them: milliseconds since 1970 and, below them, a
// number. Until the year 2248 it fits an int64.
const keyBits = 20

func keyAt(t time.Time) int64 { return t.UnixMilli() << keyBits }

func timeOf(key int64) time.Time { return time.UnixMilli(key >> keyBits).UTC() }

// position is a line among all lines, newest and oldest first alike: lines of several devices may have one key.
type position struct {
	key int64
	no  int64 // number of the device
}

func (p position) String() string { return fmt.Sprintf("%d-%d", p.key, p.no) }

func parsePosition(s string) (position, error) {
	a, b, ok := strings.Cut(s, "-")
	key, err := strconv.ParseInt(a, 10, 64)
	no, err2 := strconv.ParseInt(b, 10, 64)
	if !ok || err != nil || err2 != nil || key < 0 || no < 0 {
		return position{}, fault.Field("query.after", "%.40q is not the id of a line", s)
	}
	return position{key, no}, nil
}

// before reports whether p comes before q, oldest first.
func (p position) before(q position) bool { return p.key < q.key || p.key == q.key && p.no < q.no }
