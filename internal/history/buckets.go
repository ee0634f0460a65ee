package history

import (
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

// The tables by_app and by_place count by hours, days and weeks; hours are kept for hourDays days of event time. Weeks begin
// on Thursdays, as the epoch does.
const (
	hourSeconds = 3600
	daySeconds  = 86400
	weekSeconds = 7 * daySeconds
	hourDays    = 40
	// A span of more days is answered for by whole days.
	exactDays = 7
)

// buckets limits a question about by_app or by_place to a span, widened to whole hours: whole weeks in it are read as weeks,
// what is left of whole days as days, the ends as hours. A span of more than exactDays is widened to whole days, and so is an
// end of which the hours are gone; covered is the span that is answered for. now is the time of the newest events.
func (c *conditions) buckets(span report.Span, now events.Millis) (covered report.Span) {
	const hour, day, week = hourSeconds * 1000, daySeconds * 1000, weekSeconds * 1000
	kept := int64(now) - (hourDays-1)*day
	from, to := floor(int64(span.From), hour), floor(int64(span.To)+hour-1, hour)
	long := span.To-span.From > exactDays*events.Day
	if long || from < kept {
		from = floor(from, day)
	}
	if long || to < kept {
		to = floor(to+day-1, day)
	}
	firstDay, lastDay := whole(from, to, day)
	firstWeek, lastWeek := whole(firstDay, lastDay, week)
	c.and("(step = 3600 AND "+ends("from", "first_day", "last_day", "to")+
		" OR step = 86400 AND "+ends("first_day", "first_week", "last_week", "last_day")+
		" OR step = 604800 AND bucket >= toDateTime({first_week:Int64}, 'UTC') AND bucket < toDateTime({last_week:Int64}, 'UTC'))",
		named("from", from/1000), named("to", to/1000), named("first_day", firstDay/1000), named("last_day", lastDay/1000),
		named("first_week", firstWeek/1000), named("last_week", lastWeek/1000))
	return report.Span{From: events.Millis(from), To: events.Millis(to)}
}

// whole is where the whole steps in a span begin and end; both are its end when it has none.
func whole(from, to, step int64) (first, last int64) {
	first, last = floor(from+step-1, step), floor(to, step)
	if first >= last {
		return to, to
	}
	return first, last
}

// ends is the condition for the two pieces of a span around its middle, by the names of parameters.
func ends(from, first, last, to string) string {
	at := func(name string) string { return "toDateTime({" + name + ":Int64}, 'UTC')" }
	return "(bucket >= " + at(from) + " AND bucket < " + at(first) + " OR bucket >= " + at(last) + " AND bucket < " + at(to) + ")"
}
