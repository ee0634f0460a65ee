package anomaly

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/profile"
)

// An attacker writes as many events of one user as they like, with whatever texts and times. What is kept stays within
// [profile.MaxEncoded], what an event costs does not grow with what came before, and nothing breaks.

// plain is a sign-in at home, the i-th of a user, a minute after the one before.
func plain(i int) *events.Event {
	return &events.Event{
		ID: events.EventID("acme", "plain", fmt.Sprint(i)), Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "u1"},
		Time: dayZero + events.Millis(i)*events.Minute, Outcome: events.Success, Interactive: events.Yes, IP: "192.0.2.17",
		Place: cities["utrecht"], Network: networks[""], Device: devices["laptop"], Session: events.Session{ID: "s1"},
	}
}

// bounded checks that a profile keeps its bound and can be read back.
func bounded(t *testing.T, p *profile.Profile) {
	t.Helper()
	b := p.AppendBinary(nil)
	if len(b) > profile.MaxEncoded {
		t.Fatalf("%d bytes, at most %d are allowed", len(b), profile.MaxEncoded)
	}
	if _, err := profile.Decode(b); err != nil {
		t.Fatal(err)
	}
}

// flood evaluates n events that make draws, and checks the bounds on the way. The last events must cost no more allocations
// than those after the first hundredth, when every ring is full.
func flood(t *testing.T, n int, draw func(i int) *events.Event) *profile.Profile {
	t.Helper()
	c, p := catalogue(t), profile.New()
	cost := func(from int) float64 {
		i := from
		return testing.AllocsPerRun(n/100, func() {
			for _, f := range c.Evaluate(p, nil, draw(i)).Findings {
				events.Encode(&f) // panics on what JSON cannot hold
			}
			i++
		})
	}
	early := 0.0
	for i := 0; i < n; {
		switch {
		case i == n/100:
			early = cost(i)
			i += n/100 + 1
		case i >= n-n/100-1:
			if late := cost(i); late > 1.5*early+50 {
				t.Errorf("%g allocations an event after %d events, %g after %d", late, i, early, n/100)
			}
			i = n
		default:
			c.Evaluate(p, nil, draw(i))
			i++
		}
		if i%997 == 0 {
			bounded(t, p)
		}
	}
	bounded(t, p)
	return p
}

func TestTenThousandSessions(t *testing.T) { //nolint:paralleltest // counts allocations
	p := flood(t, 10_000, func(i int) *events.Event {
		e := plain(i)
		e.Time = dayZero + events.Millis(i)*events.Second
		e.Session = events.Session{ID: fmt.Sprint("session-", i), Token: fmt.Sprint("token-", i)}
		return e
	})
	if len(p.Sessions) > profile.MaxSessions {
		t.Errorf("%d sessions", len(p.Sessions))
	}
}

func TestTenThousandTokensOfOneSession(t *testing.T) { //nolint:paralleltest // counts allocations
	p := flood(t, 10_000, func(i int) *events.Event {
		e := plain(i)
		e.Kind, e.IP = events.SessionUse, fmt.Sprintf("2001:db8:%x::1", i)
		e.Session = events.Session{ID: "s1", Token: fmt.Sprint("token-", i)}
		return e
	})
	if n := len(p.Session(profile.SessionKey("s1")).Tokens); n > profile.MaxTokens {
		t.Errorf("%d tokens", n)
	}
}

func TestHundredThousandAddressesAgainstOneAccount(t *testing.T) { //nolint:paralleltest // counts allocations
	p := flood(t, 100_000, func(i int) *events.Event {
		e := plain(i)
		e.Time = dayZero + events.Millis(i)*events.Second/10
		e.IP, e.Network.ASN = fmt.Sprintf("2001:db8:%x:%x::1", i>>8, i&255), uint32(i)
		e.Place.Lat, e.Place.Lon = float64(i%170)-85, float64(i*7%360)-180
		e.Device = events.Device{OS: fmt.Sprint("os", i%7), Browser: fmt.Sprint("browser", i)}
		e.Session.ID = ""
		if i%5 != 0 {
			e.Outcome, e.Cause = events.Failure, events.Causes[i%len(events.Causes)]
			e.Correlation = fmt.Sprint("flow", i)
		}
		return e
	})
	if len(p.Failures) > profile.MaxFailures || len(p.Visits) > profile.MaxVisits || len(p.Terms) > profile.MaxTerms ||
		len(p.Clusters) > profile.MaxClusters || len(p.Raised) > profile.MaxRaised {
		t.Errorf("%d failures, %d visits, %d terms, %d places, %d findings", len(p.Failures), len(p.Visits), len(p.Terms), len(p.Clusters), len(p.Raised))
	}
}

// What an attacker brings must not push out what is known of the user: the owner's own device, seen every hour, stays known
// beside ten thousand others.
func TestTenThousandDevices(t *testing.T) { //nolint:paralleltest // counts allocations
	p := flood(t, 10_000, func(i int) *events.Event {
		e := plain(i)
		e.Session.ID = ""
		if i%60 != 0 {
			e.Device.ID = fmt.Sprint("device-", i)
		}
		return e
	})
	if p.Term(profile.DeviceID, profile.DeviceValue(profile.Hash(devices["laptop"].ID))) == nil {
		t.Error("the user's own device is forgotten")
	}
	if p.Term(profile.Country, profile.CountryValue("NL")) == nil {
		t.Error("the user's country is forgotten")
	}
}

func TestTenThousandVerdictsChangesAndReports(t *testing.T) { //nolint:paralleltest // counts allocations
	p := flood(t, 10_000, func(i int) *events.Event {
		e := plain(i)
		e.Outcome, e.Session.ID = "", ""
		switch i % 4 {
		case 0:
			e.Kind = events.NetworkVerdict
			e.Verdict = &events.Verdict{
				Detection: "CRD-03", Severity: events.Critical, Incident: fmt.Sprint(i), Source: fmt.Sprint("ip 192.0.2.", i%256), From: e.Time, To: e.Time,
			}
		case 1:
			e.Kind = events.AccountChange
			e.Change = events.Change{Type: events.ChangeTypes[i/4%len(events.ChangeTypes)], Action: events.Added}
		case 2:
			e.Kind, e.Risk = events.RiskReport, events.Risk{Level: events.RiskHigh, SignIn: fmt.Sprint(i), Detections: []string{"fraud"}}
		case 3:
			e.Outcome, e.Cause, e.Correlation = events.Failure, events.MFARefused, fmt.Sprint(i)
		}
		return e
	})
	if p.Risk.Sum > maxRisk || len(p.Risk.Parts) > profile.MaxRiskParts || len(p.Attacked) > profile.MaxAttacked ||
		len(p.Changes) > profile.MaxChanges || len(p.Pushes) > profile.MaxPushes {
		t.Errorf("risk %g of %d parts, %d attacks, %d changes, %d prompts", p.Risk.Sum, len(p.Risk.Parts), len(p.Attacked), len(p.Changes), len(p.Pushes))
	}
}

// huge is a text of some 100 KB that is no good in any way.
func huge(i int) string {
	return fmt.Sprint(i) + strings.Repeat("界\u202e\x00\"\\\xff/%s axios/", 8<<10)
}

// hostile is an event of any kind of which every text is huge, and some numbers are none.
func hostile(i int) *events.Event {
	e := plain(i)
	text := huge(i)
	e.Kind = events.Kinds[i%len(events.Kinds)]
	e.User = events.User{ID: "u1", Name: text, Type: []events.UserType{"", "", events.Workload, events.UserType(text)}[i/7%4], Groups: []string{text}}
	e.Source = events.Source{Name: text, Family: text, ID: text, Category: text}
	e.Outcome = []events.Outcome{events.Success, events.Failure, events.Outcome(text), events.Interrupt}[i/3%4]
	e.Cause, e.Code, e.Reason, e.Correlation = events.Cause(text), text, text, text
	e.App, e.Resource = events.Ref{ID: text, Name: text}, events.Ref{ID: text, Name: text}
	e.Session = events.Session{ID: text, Token: text, TokenType: text}
	e.IP, e.AddressText, e.UserAgent = []string{text, "not an address", "", "192.0.2.1"}[i%4], text, text
	e.Network = events.Network{Prefix: text, ASN: uint32(i) * 65537, Org: text, Classes: []events.Class{events.Class(text), events.Hosting}, List: text}
	e.Place = events.Place{City: text, Region: text, Country: []string{text, "NL", "", "J"}[i%4], Lat: 10, Lon: float64(i % 180)}
	e.ProviderPlace = e.Place
	e.Device = events.Device{ID: text, OS: text, Browser: text, Type: text, Name: text, BrowserMajor: math.MaxInt, Managed: 100}
	e.Auth = events.Auth{MFA: events.MFA(text), Strength: events.Strength(text), Methods: []string{text, text}, Protocol: text, ACR: text}
	e.Risk = events.Risk{Level: events.RiskLevel(text), Detections: []string{text, text}, SignIn: text}
	e.Change = events.Change{Type: events.ChangeType(text), Action: events.ChangeAction(text), Target: e.App, Actor: e.App, Grants: []string{text}}
	e.Verdict = &events.Verdict{Detection: []string{"NET-05", text}[i%2], Severity: events.High, Source: text, Users: math.MinInt, Sample: []string{text}}
	switch i % 16 {
	case 1:
		e.Place.Lat, e.Place.Lon, e.Place.RadiusKm = -math.MaxFloat64, 1e300, -1e300
	case 2:
		e.Place.Lat, e.Place.RadiusKm, e.ProviderPlace.Lon = math.MaxFloat64, math.MaxFloat64, -math.MaxFloat64
	case 3:
		e.Verdict, e.Org = nil, nil
	case 4:
		e.ID = text
	}
	return e
}

func TestHostileTextsInEveryField(t *testing.T) {
	t.Parallel()
	c, p := catalogue(t), known(catalogue(t))
	told := org.NewContext(&events.OrgContext{Since: dayZero - 90*events.Day, Until: dayZero})
	for i := range 400 {
		for _, f := range c.Evaluate(p, told, hostile(i)).Findings {
			events.Encode(&f)
		}
		if i%23 == 0 {
			bounded(t, p)
		}
	}
	bounded(t, p)
}

// An event as ingest lets it in, a user agent of 100 KB cut, gives findings that fit a record.
func TestFindingsOfCleanedEventsAreSmall(t *testing.T) {
	t.Parallel()
	c, p := catalogue(t), known(catalogue(t))
	largest, detections := 0, map[string]bool{}
	for i := range 400 {
		e := plain(i)
		e.UserAgent = "axios/1.7 " + huge(i)
		e.Network.Org, e.Place.City, e.Device.OS, e.Device.Browser = huge(i), huge(i), huge(i), huge(i)
		e.Place.Lat, e.Network.ASN, e.Session.ID = float64(i*37%90), uint32(i), ""
		e.IP = fmt.Sprintf("2001:db8:%x::1", i)
		e.Clean()
		for _, f := range c.Evaluate(p, nil, e).Findings {
			largest = max(largest, len(events.Encode(&f)))
			detections[f.Detection] = true
		}
	}
	if largest > 64<<10 {
		t.Errorf("a finding of %d bytes", largest)
	}
	for _, id := range []string{"DEV-02", "AIT-02", "LOC-01"} {
		if !detections[id] {
			t.Errorf("no %s among %d detections: the test shows little", id, len(detections))
		}
	}
}

// A consent to ten thousand scopes is refused at the door; were it not, it would cost no state.
func TestConsentToTenThousandScopes(t *testing.T) {
	t.Parallel()
	c, p := catalogue(t), known(catalogue(t))
	e := plain(1)
	e.Kind, e.Outcome = events.AccountChange, ""
	e.Change = events.Change{Type: events.ConsentChange, Action: events.Added, Target: events.Ref{ID: "app"}}
	for i := range 10_000 {
		e.Change.Grants = append(e.Change.Grants, fmt.Sprint("Mail.", i))
	}
	if err := e.Validate(); err == nil || !strings.Contains(err.Error(), "change.grants") {
		t.Errorf("accepted: %v", err)
	}
	told := org.NewContext(&events.OrgContext{Since: dayZero - 90*events.Day, Until: dayZero})
	found := c.Evaluate(p, told, e).Findings
	if !slices.ContainsFunc(found, func(f events.Finding) bool { return f.Detection == oau03.ID }) {
		t.Error("OAU-03 not found")
	}
	bounded(t, p)
}

// Time that runs backwards: each event is an hour before the one that came before it.
func TestTimeRunningBackwards(t *testing.T) { //nolint:paralleltest // counts allocations
	p := flood(t, 10_000, func(i int) *events.Event {
		e := plain(i)
		e.Time = dayZero - events.Millis(i)*events.Hour
		e.Place = cities[cityNames[i%len(cityNames)]]
		e.Session.ID = fmt.Sprint("s", i%100)
		if i%3 == 0 {
			e.Outcome, e.Cause = events.Failure, events.BadPassword
		}
		return e
	})
	if p.Late == 0 || p.LastSeen > dayZero {
		t.Errorf("%d late, last seen %s", p.Late, p.LastSeen)
	}
}

// Clocks that are off by ages: nothing breaks, and numbers stay numbers. Ingest lets none of it in.
func TestClocksFarOff(t *testing.T) {
	t.Parallel()
	c := catalogue(t)
	times := []events.Millis{
		math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, 0, -1, 1, dayZero, dayZero + 100*365*events.Day, dayZero - 100*365*events.Day,
		math.MaxInt64 / 2, math.MinInt64 / 2, math.MaxUint32 * events.Minute,
	}
	for first := range times {
		p := profile.New()
		for i := range 2000 {
			e := plain(i)
			e.Time = times[(first+i*7+i/5)%len(times)] // each after each
			e.Place = cities[cityNames[i%len(cityNames)]]
			e.Session.ID = fmt.Sprint("s", i%5)
			e.Auth.Time, e.Network.Built, e.Risk.Happened = times[i%len(times)], times[(i+1)%len(times)], times[(i+2)%len(times)]
			e.Kind = events.Kinds[i/2%len(events.Kinds)]
			e.Change = events.Change{Type: events.LifecycleChange, Action: events.Disabled}
			e.Risk.Level = events.RiskHigh
			e.Verdict = &events.Verdict{Detection: "CRD-03", Severity: events.High, From: times[i%len(times)], To: times[(i+3)%len(times)]}
			if i%4 == 0 {
				e.Outcome, e.Cause = events.Failure, events.Causes[i%len(events.Causes)]
			}
			r := c.Evaluate(p, nil, e)
			for k := range r.Findings {
				events.Encode(&r.Findings[k])
			}
			if math.IsNaN(r.Risk) || math.IsInf(r.Risk, 0) || r.Risk < 0 || r.Risk > maxRisk {
				t.Fatalf("risk %g", r.Risk)
			}
			if i%97 == 0 {
				bounded(t, p)
			}
		}
	}
}

// A clock that is ten minutes ahead, as clocks are, must not blind the detections for those that are right.
func TestClockTenMinutesAhead(t *testing.T) {
	t.Parallel()
	c := catalogue(t)
	p := known(c)
	s := newScenario(t)
	for _, line := range []string{"09:00 home sign_in utrecht laptop", "09:30 ahead sign_in utrecht laptop", "09:20 home2 sign_in utrecht laptop"} {
		c.Evaluate(p, nil, s.event(line))
	}
	found := c.Evaluate(p, nil, s.event("09:21 away sign_in tokyo linux")).Findings
	for _, id := range []string{"LOC-01", "CONJ-01"} {
		if !slices.ContainsFunc(found, func(f events.Finding) bool { return f.Detection == id && adverse(f) }) {
			t.Errorf("%s is blind", id)
		}
	}
}
