package history

import (
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// The tables by_app and by_place count by hours and by days; hours are kept for hourDays days of event time.
const (
	hourSeconds = 3600
	daySeconds  = 86400
	hourDays    = 40
)

// buckets limits a question about by_app or by_place to a span, widened to whole hours: whole days in it are read as days,
// the ends as hours. An end of which the hours are gone is widened to a whole day; covered is the span that is answered
// for. now is the time of the newest events.
func (c *conditions) buckets(span report.Span, now events.Millis) (covered report.Span) {
	const hour, day = hourSeconds * 1000, daySeconds * 1000
	kept := int64(now) - (hourDays-1)*day
	from, to := floor(int64(span.From), hour), floor(int64(span.To)+hour-1, hour)
	if from < kept {
		from = floor(from, day)
	}
	if to < kept {
		to = floor(to+day-1, day)
	}
	firstDay, lastDay := floor(from+day-1, day), floor(to, day)
	if firstDay >= lastDay {
		// No whole day in it.
		firstDay, lastDay = to, to
	}
	c.and("(step = 3600 AND (bucket >= toDateTime({from:Int64}, 'UTC') AND bucket < toDateTime({first_day:Int64}, 'UTC') "+
		"OR bucket >= toDateTime({last_day:Int64}, 'UTC') AND bucket < toDateTime({to:Int64}, 'UTC')) "+
		"OR step = 86400 AND bucket >= toDateTime({first_day:Int64}, 'UTC') AND bucket < toDateTime({last_day:Int64}, 'UTC'))",
		named("from", from/1000), named("to", to/1000), named("first_day", firstDay/1000), named("last_day", lastDay/1000))
	return report.Span{From: events.Millis(from), To: events.Millis(to)}
}
