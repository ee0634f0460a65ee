package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/revocation"
)

// historyTenants are the tenants of the companies that fill a history side by side, each with its share of the users.
var historyTenants = [][]string{{"acme", "globex", "initech"}, {"umbrella", "hooli"}}

const (
	// eventsPerDay is how many events a user of the simulated company causes on a day, on average.
	eventsPerDay = 5.9
	insertRows   = 50_000
	// One event in noiseEvery that is nobody's attack gives a finding; of an attack, the first findingsPerAttack do.
	noiseEvery        = 500
	findingsPerAttack = 3
)

// filled says what a fill wrote.
type filled struct {
	events, findings, requirements atomic.Int64
	rawBytes                       atomic.Int64
}

// fillHistory writes n events of so many users, the newest some days old at most, by the blocks and inserts of the archiver. Every
// event is one of its own from the generator.
func fillHistory(ctx context.Context, o Options, store *history.Store, n, users int) (*filled, error) {
	days := max(1, int(float64(n)/float64(users)/eventsPerDay+.5))
	began := time.Now()
	// People do less on weekends: the end is some days ago rather than to come.
	start := began.Add(-time.Duration(days+days/20+3) * 24 * time.Hour)
	o.Progress("filling the history with %d events of %d users in %d days", n, users, days)
	var f filled
	g, ctx := errgroup.WithContext(ctx)
	for i, tenants := range historyTenants {
		g.Go(func() error {
			cfg := company.DefaultConfig()
			cfg.Seed, cfg.Users, cfg.Tenants = o.Seed+uint64(i), max(len(tenants), users/len(historyTenants)), tenants
			cfg.Start, cfg.Days, cfg.Ingested = events.MillisOf(start), 0, true
			cfg.AttacksPerDay, cfg.QuietDays = float64(users)/1000, 0
			if err := cfg.Validate(); err != nil {
				return fmt.Errorf("the simulated company: %w", err)
			}
			return newFiller(store, &f, o.Seed+uint64(i)).run(ctx, company.New(cfg), n/len(historyTenants))
		})
	}
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(15 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				written := int(f.events.Load())
				o.Progress("%d events, %.0f a second", written, rate(written, time.Since(began)))
			case <-done:
				return
			}
		}
	}()
	err := g.Wait()
	close(done)
	if err == nil {
		o.Progress("filled: %.0f events a second, %d findings, %d requirements", rate(int(f.events.Load()), time.Since(began)), f.findings.Load(), f.requirements.Load())
	}
	return &f, err
}

// filler fills from one company.
type filler struct {
	store        *history.Store
	total        *filled
	rng          *rand.Rand
	events       *history.Events
	findings     *history.Findings
	requirements *history.Requirements
	receipts     *history.Receipts
	marks        *history.Marks
	incidents    map[int]int // findings by incident
	detections   []*anomaly.Detection
}

func newFiller(store *history.Store, total *filled, seed uint64) *filler {
	return &filler{
		store: store, total: total, rng: rand.New(rand.NewPCG(seed, 2)), events: history.NewEvents(), findings: history.NewFindings(),
		requirements: history.NewRequirements(), receipts: history.NewReceipts(), marks: history.NewMarks(),
		incidents: map[int]int{}, detections: anomaly.Detections(),
	}
}

func (f *filler) run(ctx context.Context, people *company.Company, n int) error {
	var e events.Event
	for i := range n {
		label, ok := people.Next(&e)
		if !ok {
			return errors.New("the simulated company has no more events")
		}
		raw := events.Encode(&e)
		// The log takes an event some milliseconds after ingest has.
		logged := e.Ingested.Time().Add(time.Duration(2+f.rng.IntN(40)) * time.Millisecond)
		if err := f.events.Append(&e, raw, logged); err != nil {
			return err
		}
		f.total.rawBytes.Add(int64(len(raw)))
		if f.suspicious(&label) {
			if err := f.find(&e, &label, logged.Add(3*time.Millisecond)); err != nil {
				return err
			}
		}
		if f.events.Len() == insertRows || i == n-1 {
			if err := f.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *filler) suspicious(label *company.Label) bool {
	if label.Attack == "" {
		return f.rng.IntN(noiseEvery) == 0
	}
	f.incidents[label.Incident]++
	return f.incidents[label.Incident] <= findingsPerAttack
}

// flush inserts what there is. Findings and what follows from them go in as often, in small inserts, as in life.
func (f *filler) flush(ctx context.Context) error {
	f.total.events.Add(int64(f.events.Len()))
	f.total.findings.Add(int64(f.findings.Len()))
	f.total.requirements.Add(int64(f.requirements.Len()))
	for _, b := range []*history.Block{&f.events.Block, &f.findings.Block, &f.requirements.Block, &f.receipts.Block, &f.marks.Block} {
		if err := f.store.Insert(ctx, b); err != nil {
			return err
		}
		b.Reset()
	}
	return nil
}

// find makes the finding of an event, and what follows from it: a requirement with its receipts, and what a person made
// of it. What it says is made up; its form, its size and how many there are, are as from a detector.
func (f *filler) find(e *events.Event, label *company.Label, logged time.Time) error {
	d := f.detections[f.rng.IntN(len(f.detections))]
	severity := d.Severity[f.rng.IntN(len(d.Severity))]
	finding := &events.Finding{
		ID: events.FindingID(d.ID, d.Version, e.Tenant, e.User.ID, e.ID), Detection: d.ID, Version: d.Version, Title: d.Title,
		Summary: d.Title + " of " + e.User.ID + " from " + e.Place.City + ", " + e.Place.Country + ".", Tenant: e.Tenant, User: e.User,
		EventID: e.ID, Time: e.Time, Ingested: e.Ingested, Severity: severity, Disposition: events.Active, Technique: d.Technique,
		Evidence: events.Evidence{Sight: events.SightOf(e)},
	}
	if dice := f.rng.IntN(10); label.Attack == "" && dice < 8 {
		finding.Disposition = events.Suppressed
		if dice < 2 {
			finding.Disposition = events.Learning
		}
		finding.Suppressions = []events.Suppression{{Rung: "known", Fact: "the device is known", Effect: "record"}}
	}
	// A way from elsewhere, as most findings about places have one.
	from := events.SightOf(e)
	from.Time -= events.Millis(f.rng.IntN(7200_000))
	from.Place.Lat, from.Place.Lon, from.Place.City = from.Place.Lat/2, from.Place.Lon/2, "Elsewhere"
	finding.Evidence.Travel = &events.Travel{From: from, To: finding.Evidence.Sight, DistanceKm: 5000 * f.rng.Float64(), SpeedKmh: 3000 * f.rng.Float64()}
	if finding.Disposition == events.Active && severity.Rank() >= events.High.Rank() {
		finding.Decision = &events.Decision{
			Policy: "default", Version: "1", Action: events.StepUp, Reason: finding.Summary,
			Requirement: events.ID("requirement", e.Tenant, e.User.ID, e.ID),
		}
		if err := f.require(e, finding, logged); err != nil {
			return err
		}
	}
	if finding.Disposition == events.Active && f.rng.IntN(5) == 0 {
		mark := &events.Mark{
			Tenant: e.Tenant, Finding: finding.ID, Detection: d.ID, User: e.User.ID, Found: e.Time, By: "Bench",
			Verdict: events.TriageVerdicts[1+f.rng.IntN(3)], Comment: "seen", Time: e.Time + 3600_000,
		}
		mark.ID = events.MarkID(mark)
		if err := f.marks.Append(mark, logged); err != nil {
			return err
		}
	}
	return f.findings.Append(finding, events.Encode(finding), logged)
}

// require opens the requirement of a finding, and closes most of them a minute later.
func (f *filler) require(e *events.Event, finding *events.Finding, logged time.Time) error {
	at := int64(e.Time) / 1000
	c := revocation.Claims{
		Issuer: revocation.DefaultIssuer, IssuedAt: at, Tenant: e.Tenant, User: e.User.ID, Status: revocation.Open,
		Requirement: revocation.Requirement{
			ID: finding.Decision.Requirement, Action: events.StepUp, Session: e.Session.ID, ACRValues: []string{"phr", "mfa"}, MaxAge: 300,
			NotBefore: at, Expires: at + 8*3600, Severity: finding.Severity, ReasonAdmin: finding.Summary, Policy: "default", PolicyVersion: "1",
			EventID: e.ID, EventTime: at, UserName: e.User.Name,
		},
	}
	statuses := []revocation.Status{revocation.Open, revocation.Satisfied}
	if f.rng.IntN(5) == 0 {
		statuses[1] = revocation.Expired
	}
	for _, status := range statuses {
		c.Status, c.JTI = status, events.ID("set", c.ID, string(status))
		if status != revocation.Open {
			c.ClosedAt = at + 60
		}
		requirement := report.RequirementOf(&c, c.Encode())
		if err := f.requirements.Append(&requirement, logged); err != nil {
			return err
		}
	}
	for i, status := range []events.ReceiptStatus{events.Delivered, events.Challenged, events.Satisfied} {
		r := &events.Receipt{
			ID: events.ID("receipt", c.ID, string(status)), Time: e.Time + events.Millis((i+1)*(80+f.rng.IntN(400))), Tenant: e.Tenant,
			User: e.User.ID, Session: e.Session.ID, Requirement: c.ID, JTI: c.JTI, App: "app-mail", Status: status,
		}
		if err := f.receipts.Append(r, logged); err != nil {
			return err
		}
	}
	return nil
}
