package simulate

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/entra"
)

// What is written as Entra writes it is read back as what it was.
func TestEntraRecordsAreReadBack(t *testing.T) {
	t.Parallel()
	cfg := company.EvalConfig(300)
	cfg.Days, cfg.QuietDays, cfg.AttacksPerDay, cfg.Faults = 20, 1, 8, company.Faults{}
	var written, truth bytes.Buffer
	labels := NewLabels(&truth)
	var sent []events.Event
	attacks := 0
	player := Player{Company: company.New(cfg), Sink: Entra(&written), Labels: func(e *events.Event, l company.Label) {
		labels.WriteEntra(e, l)
		if _, ok := entraEventID(e); ok {
			sent = append(sent, *e)
			if l.Attack != "" {
				attacks++
			}
		}
	}}
	if err := player.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := labels.Close(); err != nil {
		t.Fatal(err)
	}
	decoder := entra.EventHub()
	n := 0
	known := map[string]bool{}
	for line := range bytes.Lines(written.Bytes()) {
		decoder.Decode(line, func(raw []byte, e *events.Event, err error) {
			if err != nil {
				t.Fatalf("%v\n%s", err, raw)
			}
			was := &sent[n]
			n++
			if problem := differs(was, e); problem != "" {
				t.Fatalf("%s\nwas  %s\nis   %s\nfrom %s", problem, events.Encode(was), events.Encode(e), raw)
			}
			known[events.EventID(e.Tenant, e.Source.Family, e.Source.ID)] = true
		})
	}
	if n != len(sent) || n < 20_000 || attacks < 100 {
		t.Errorf("%d of %d records read back, %d of attacks", n, len(sent), attacks)
	}
	lines := 0
	for line := range bytes.Lines(truth.Bytes()) {
		var l labelLine
		if err := json.Unmarshal(line, &l); err != nil || !known[l.EventID] {
			t.Fatalf("label %s: %v", line, err)
		}
		lines++
	}
	if lines != n {
		t.Errorf("%d labels of %d records", lines, n)
	}
}

// differs says what an event lost on the way.
func differs(was, is *events.Event) string {
	switch {
	case is.Kind != events.SignIn:
		return "kind"
	case is.Time != was.Time || is.Emitted != was.Emitted:
		return "times"
	case is.Tenant != was.Tenant:
		return "tenant"
	case is.User.Type != was.User.Type || !strings.HasSuffix(is.User.ID, was.User.ID):
		return "user"
	case is.IP != was.IP || is.Network.ASN != was.Network.ASN || is.UserAgent != was.UserAgent:
		return "network or user agent"
	case is.Outcome != was.Outcome || is.Cause != was.Cause:
		return "outcome or cause"
	case is.Correlation != was.Correlation:
		return "flow"
	case (is.Interactive == events.Yes) != (was.Interactive == events.Yes):
		return "interactive"
	case is.Session.ID != was.Session.ID || is.Session.Token != was.Session.Token || is.Session.TokenType != was.Session.TokenType:
		return "session"
	case is.App != was.App || is.Resource.ID != was.Resource.ID:
		return "application"
	case was.User.Type == events.Workload:
		return ""
	case is.Device.ID != was.Device.ID || is.Device.OS != was.Device.OS || is.Device.Managed != was.Device.Managed ||
		!strings.HasPrefix(is.Device.Browser, was.Device.Browser):
		return "device"
	case was.Place.City != "" && (is.ProviderPlace.Lat != was.Place.Lat || is.ProviderPlace.Lon != was.Place.Lon):
		return "place"
	case is.ProviderPlace.Country != was.Place.Country:
		return "country"
	case was.Kind == events.SessionUse:
		return ""
	case is.Auth.Protocol != was.Auth.Protocol:
		return "protocol"
	case was.Auth.MFA != "" && is.Auth.MFA != was.Auth.MFA:
		return "second factor"
	case was.Auth.MFA == events.MFAPerformed && !slices.Equal(is.Auth.Methods, was.Auth.Methods):
		return "methods"
	case was.Outcome == events.Success && was.Auth.Strength != "" && is.Auth.Strength != was.Auth.Strength:
		return "strength"
	}
	return ""
}
