package history

import (
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// Hours, days and weeks together cover a span once: no moment of it is left out or counted twice.
func TestBucketsCoverASpanOnce(t *testing.T) {
	t.Parallel()
	const hour, day, week = int64(hourSeconds), int64(daySeconds), int64(weekSeconds)
	now := time.Date(2026, 5, 17, 13, 20, 0, 0, time.UTC).Unix()
	rapid.Check(t, func(t *rapid.T) {
		from := now - rapid.Int64Range(0, 90*day).Draw(t, "from")
		to := from + rapid.Int64Range(1, 60*day).Draw(t, "length")
		c := within(report.Scope{All: true})
		covered := c.buckets(report.Span{From: events.Millis(from * 1000), To: events.Millis(to * 1000)}, events.Millis(now*1000))
		args := map[string]int64{}
		for _, a := range c.args {
			if a, ok := a.(driver.NamedValue); ok {
				args[a.Name], _ = a.Value.(int64)
			}
		}
		first, last := int64(covered.From)/1000, int64(covered.To)/1000
		if first > from || last < to || from-first >= day || last-to >= day {
			t.Fatalf("%d to %d is answered for %d to %d", from, to, first, last)
		}
		if kept := now - (hourDays-1)*day; from >= kept && to-from <= exactDays*day && (from-first >= hour || last-to >= hour) {
			t.Fatalf("%d to %d is answered for %d to %d although there are hours", from, to, first, last)
		}
		at := args["from"]
		for _, next := range []struct {
			name string
			step int64
		}{{"first_day", hour}, {"first_week", day}, {"last_week", week}, {"last_day", day}, {"to", hour}} {
			if end := args[next.name]; end < at || end > at && (at%next.step != 0 || end%next.step != 0) {
				t.Fatalf("%v: %s is no whole step after the one before", args, next.name)
			}
			at = args[next.name]
		}
		if args["from"] != first || args["to"] != last {
			t.Fatalf("%v is not %d to %d", args, first, last)
		}
	})
}
