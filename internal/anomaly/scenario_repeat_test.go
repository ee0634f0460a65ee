package anomaly

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// repeated writes out the lines of the part "events" that stand for several: times=N of them, labelled LABEL1 to LABELN, every=SPAN
// apart, of which vary=KEYS (ip, asn, correlation, session, token) differ.
func (s *scenario) repeated(lines []string) []string {
	var out []string
	for _, line := range lines {
		f := strings.Fields(line)
		times, every, vary := 0, events.Millis(0), ""
		f = slices.DeleteFunc(f, func(option string) bool {
			key, value, _ := strings.Cut(option, "=")
			switch key {
			case "times":
				times = s.number(value)
			case "every":
				every = s.span(value)
			case "vary":
				vary = value
			default:
				return false
			}
			return true
		})
		if times == 0 {
			out = append(out, line)
			continue
		}
		clock := 0
		if strings.HasSuffix(f[0], "d") {
			clock = 1
		}
		from, label := s.clock(f[clock]), f[clock+1]
		for i := range times {
			one := slices.Clone(f)
			at := from + events.Millis(i)*every
			one[clock] = fmt.Sprintf("%02d:%02d:%02d", at/events.Hour, at/events.Minute%60, at/events.Second%60)
			one[clock+1] = fmt.Sprint(label, i+1)
			for key := range strings.SplitSeq(vary, ",") {
				switch key {
				case "":
				case "ip":
					one = append(one, fmt.Sprintf("ip=203.0.113.%d", i+1))
				case "asn":
					one = append(one, fmt.Sprintf("asn=%d", 64500+i))
				case "correlation", "session", "token":
					one = append(one, fmt.Sprintf("%s=%s%d", key, key, i+1))
				default:
					s.Fatalf("event %q: %s cannot vary", line, key)
				}
			}
			out = append(out, strings.Join(one, " "))
		}
	}
	return out
}
