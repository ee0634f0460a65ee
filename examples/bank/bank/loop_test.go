package bank

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/stepup"
)

// decider is countersign without Kafka: the real rules, from the bank's events to the bank's index.
type decider struct {
	*testing.T
	rules detector.Rules
	mu    sync.Mutex
	users map[string]*detector.User
	index *stepup.Index
	trace []string
}

func newDecider(t *testing.T, index *stepup.Index) *decider {
	t.Helper()
	catalogue, err := anomaly.New(anomaly.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return &decider{T: t, rules: detector.Rules{Catalogue: catalogue, Policies: policy.Default()}, users: map[string]*detector.User{}, index: index}
}

func (d *decider) take(e events.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	if e.Ingested == 0 {
		e.Ingested = events.MillisOf(time.Now())
	}
	u := d.users[e.Key()]
	if u == nil {
		u = detector.NewUser()
		d.users[e.Key()] = u
	}
	out := d.rules.Fold(&detector.Tenant{}, u, &e)
	d.trace = append(d.trace, fmt.Sprintf("%s %s %s %s", e.Time, e.Kind, e.ProviderPlace.City, e.Auth.ACR))
	for _, f := range out.Findings {
		d.trace = append(d.trace, fmt.Sprintf("  %s %s %s: %s", f.Detection, f.Severity, f.Disposition, f.Summary))
	}
	for _, c := range out.Changes {
		d.trace = append(d.trace, fmt.Sprintf("  %s %s %s session %q not before %d", c.Claims.Action, c.Claims.Status, c.Claims.ID[:6], c.Claims.Session, c.Claims.NotBefore))
		claims, err := stepup.ParseClaims(c.Claims.Encode())
		if err != nil {
			d.Error(err)
			continue
		}
		d.index.Apply(claims)
	}
}

func (d *decider) story() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.trace, "\n")
}

// learn gives a user a month of mornings in Berlin.
func (d *decider) learn(user, userAgent string) {
	now := time.Now()
	for day := 30; day > 0; day-- {
		at := events.MillisOf(now.Add(-time.Duration(day)*24*time.Hour - time.Hour))
		place := DemoPlaces()["berlin"]
		d.take(events.Event{
			Kind: events.SignIn, Tenant: "acme", User: events.User{ID: user}, Time: at, Ingested: at, Outcome: events.Success,
			Source: events.Source{Family: family, ID: fmt.Sprint("day-", user, day)}, Interactive: events.Yes, IP: place.IP.String(),
			ProviderPlace: events.Place{Lat: place.Lat, Lon: place.Lon, RadiusKm: 20, City: place.City, Country: place.Country},
			UserAgent:     userAgent, Session: events.Session{ID: fmt.Sprint("old-", day)},
			Auth: events.Auth{Strength: events.SingleFactor, Methods: []string{"pwd"}, ACR: "pwd", Time: at},
		})
	}
}

// TestTheRealRulesCloseTheLoop walks with nothing injected: the attacker signs in from Tokyo, the bank reports it, the
// shipped rules and policy decide, the bank challenges, and the stronger sign-in closes the requirement.
func TestTheRealRulesCloseTheLoop(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	d := newDecider(t, s.index)
	d.learn("ada", "bank-cli/1.0")
	go func() {
		for {
			select {
			case e := <-s.ingest.seen:
				d.take(e)
			case <-t.Context().Done():
				return
			}
		}
	}()
	walked, err := Walk{Person: s.person()}.Run(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, d.story())
	}
	if len(walked.Challenge.ACRValues) == 0 || walked.Challenge.MaxAge != 0 || walked.StepUps != 1 {
		t.Errorf("%d stronger sign-ins, want one; challenge %s", walked.StepUps, walked.Header)
	}
	t.Logf("%+v", *walked)
	t.Log("\n" + d.story())
}
