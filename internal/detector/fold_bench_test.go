package detector

import (
	"fmt"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// BenchmarkFold is the detector's work for one event without Kafka: decode event and user, decide, encode the user.
func BenchmarkFold(b *testing.B) {
	rules, err := LoadRules(DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	const users, each = 200, 30
	var log [][]byte
	for i := range each {
		for u := range users {
			log = append(log, events.Encode(&events.Event{
				ID: events.EventID("acme", "b", fmt.Sprint(u, i)), Kind: events.SignIn, Tenant: "acme",
				User: events.User{ID: fmt.Sprintf("user-%04d", u), Name: "Ana Example"},
				Time: events.Millis(1767225599123 + i*4*events.Hour), Ingested: events.Millis(1767225600456 + i*4*events.Hour),
				Source:  events.Source{Name: "push", Family: "custom", ID: fmt.Sprint(u, i)},
				Outcome: events.Success, Code: "0", Interactive: events.Yes,
				App: events.Ref{ID: "a1", Name: "Portal"}, Session: events.Session{ID: fmt.Sprintf("sess-%d-%d-%d", u, i/4, i%2)},
				IP:      fmt.Sprintf("100.64.%d.%d", u, 1+i%3),
				Network: events.Network{Prefix: fmt.Sprintf("100.64.%d.0/24", u), ASN: 64500 + uint32(i%2), Org: "Example"},
				Place:   events.Place{Lat: 52.09, Lon: 5.12, RadiusKm: 20, City: "Utrecht", Country: "NL"},
				Device:  events.Device{ID: fmt.Sprintf("device-%d-%d", u, i%2), OS: "Windows", Browser: "Edge", BrowserMajor: 131, Managed: events.Yes},
				Auth:    events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"push"}},
			}))
		}
	}
	committed := map[string][]byte{}
	var e events.Event
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i == len(log) {
			i = 0
			clear(committed)
		}
		if err := events.DecodeInto(log[i], &e); err != nil {
			b.Fatal(err)
		}
		key := e.Key()
		u, err := DecodeUser(committed[key])
		if err != nil {
			b.Fatal(err)
		}
		rules.Fold(&Tenant{}, u, &e)
		committed[key] = u.AppendBinary(nil)
		i++
	}
	total := 0
	for _, v := range committed {
		total += len(v)
	}
	b.ReportMetric(float64(total)/float64(len(committed)), "B/user")
	b.ReportMetric(float64(len(log[0])), "B/event")
}
