package devicelog

import (
	"context"
	"fmt"
	"math"
	"slices"

	"gorm.io/gorm"

	"github.com/muster/muster/packages/protocol"
	"github.com/muster/muster/server/internal/store"
)

// query is what to list. Lines of one device are read by its key; those of all devices by level and key, one
// read for each level, which are merged: each read begins where the list goes on and ends when it has enough.
type query struct {
	no        int64 // number of the device; 0 for all
	level     int   // and above
	low, high int64 // keys
	task      string
	text      string
	oldest    bool
	after     *position
	limit     int
}

// sifts reports whether lines are looked at that are not what is looked for.
func (q query) sifts() bool { return q.task != "" || q.text != "" || q.no != 0 && q.level > 1 }

// beyond is where to go on when all up to a key was looked at, that key included.
func (q query) beyond(key int64) position {
	if q.oldest {
		return position{key, math.MaxInt64}
	}
	return position{key, 0} // numbers of devices begin with 1
}

// levels are the reads that are merged; 0 is the one of a device.
func (q query) levels() []int {
	if q.no != 0 {
		return []int{0}
	}
	var all []int
	for l := q.level; l <= len(protocol.LogLevels); l++ {
		all = append(all, l)
	}
	return all
}

// order is in which lines come, by columns of the table or of none.
func (q query) order(table string) string {
	if q.oldest {
		return table + "line_key, " + table + "device_no"
	}
	return table + "line_key DESC, " + table + "device_no DESC"
}

// read is the read of one level, or of one device, in order.
func (s *lineStore) read(ctx context.Context, q query, level int) *gorm.DB {
	tx := s.db.With(ctx).Model(&lineRow{}).Where("line_key >= ? AND line_key <= ?", q.low, q.high).Order(q.order(""))
	if level != 0 {
		tx = tx.Where("level = ?", level)
	} else {
		tx = tx.Where("device_no = ?", q.no)
	}
	switch {
	case q.after == nil:
	case q.oldest:
		tx = tx.Where("line_key >= ? AND (line_key > ? OR device_no > ?)", q.after.key, q.after.key, q.after.no)
	default:
		tx = tx.Where("line_key <= ? AND (line_key < ? OR device_no < ?)", q.after.key, q.after.key, q.after.no)
	}
	return tx
}

// byKey reads the lines of a read whose columns the index of levels holds. Asked for whole lines, MariaDB takes
// the level alone from the index when the range of keys is wide, and passes over all lines before it.
func (s *lineStore) byKey(ctx context.Context, q query, read *gorm.DB) *gorm.DB {
	return s.db.With(ctx).Model(&lineRow{}).Order(q.order("log_lines.")).
		Joins("JOIN (?) AS k ON k.device_no = log_lines.device_no AND k.line_key = log_lines.line_key", read.Select("device_no", "line_key"))
}

// end is the key at which the search ends so that it looks at no more lines than the window has; nil when that
// is all there are.
func (s *lineStore) end(ctx context.Context, q query, window int) (*int64, error) {
	levels := q.levels()
	var nearest *int64
	for _, level := range levels {
		var keys []int64
		if err := s.read(ctx, q, level).Offset(window/len(levels)).Limit(1).Pluck("line_key", &keys).Error; err != nil {
			return nil, fmt.Errorf("bound search in log lines: %w", err)
		}
		if len(keys) > 0 && (nearest == nil || q.oldest && keys[0] < *nearest || !q.oldest && keys[0] > *nearest) {
			nearest = &keys[0]
		}
	}
	return nearest, nil
}

func (s *lineStore) list(ctx context.Context, q query, end *int64) ([]lineRow, error) {
	var all []lineRow
	for _, level := range q.levels() {
		tx := s.read(ctx, q, level)
		if end != nil && q.oldest {
			tx = tx.Where("line_key <= ?", *end)
		} else if end != nil {
			tx = tx.Where("line_key >= ?", *end)
		}
		if level == 0 && q.level > 1 {
			tx = tx.Where("level >= ?", q.level)
		}
		if level != 0 && !q.sifts() { // what is sifted has a range that is not wide
			tx = s.byKey(ctx, q, tx.Limit(q.limit))
		}
		tx = tx.Scopes(store.Contains(q.text, "message")).Limit(q.limit)
		if q.task != "" {
			tx = tx.Where("task = ?", q.task)
		}
		var found []lineRow
		if err := tx.Find(&found).Error; err != nil {
			return nil, fmt.Errorf("list log lines: %w", err)
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b lineRow) int {
		if a.position().before(b.position()) == q.oldest {
			return -1
		}
		return 1
	})
	return all[:min(len(all), q.limit)], nil
}

func (r lineRow) position() position { return position{r.LineKey, r.DeviceNo} }

// named is a device behind a number.
type named struct {
	DeviceNo int64
	DeviceID string
	Hostname string
}

func (s *lineStore) names(ctx context.Context, numbers []int64) (map[int64]named, error) {
	var found []named
	err := s.db.With(ctx).Table("log_devices AS l").Joins("JOIN devices d ON d.id = l.device_id").
		Select("l.device_no, l.device_id, d.hostname").Where("l.device_no IN ?", numbers).Find(&found).Error
	if err != nil {
		return nil, fmt.Errorf("read names of devices: %w", err)
	}
	out := map[int64]named{}
	for _, f := range found {
		out[f.DeviceNo] = f
	}
	return out, nil
}
