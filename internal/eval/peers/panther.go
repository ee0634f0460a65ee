package peers

import (
	"fmt"

	"github.com/countersign-io/countersign/internal/events"
)

var pantherPeer = Peer{
	Info: Info{
		Name: "panther_defaults", Peer: "Panther", Setting: Defaults,
		Restated: "Travel: more than 900 km/h from the last login, which is remembered for a day; the same address is skipped, relay, " +
			"VPN and satellite are info and not remembered, less than 10 minutes and 50 km is low. Brute force: 20 failures of a user or " +
			"an address in 60 minutes. Second factor: 5 refusals in 30 minutes. Session: an address that is new to the session, with a " +
			"user agent less than 0.95 similar to the one before, remembered for a day.",
		LeftOut: "the named lists of VPN services and the one satellite network: every network of these classes counts; the device " +
			"hash beside the session id, which the events do not have; severities of other checks than travel are assumed: high for " +
			"session and second factor, medium for brute force",
		Delay: "as events arrive: 60 seconds",
	},
	Rule: newPanther,
}

const (
	pantherKmh        = 900
	pantherMemory     = events.Day
	pantherDelay      = 60 * events.Second
	pantherFailures   = 20
	pantherRefusals   = 5
	pantherSimilarity = 0.95
)

type panther struct {
	last     table[user, spot]
	byUser   table[user, attempts]
	byIP     table[user, attempts] // of a tenant's address
	refusals table[user, attempts]
	sessions table[user, pantherSession] // of a tenant's session
}

type pantherSession struct {
	ips          map[string]struct{}
	agent, event string
}

func newPanther() Rule {
	return &panther{
		last: newTable[user, spot](pantherMemory), byUser: newTable[user, attempts](events.Hour), byIP: newTable[user, attempts](events.Hour),
		refusals: newTable[user, attempts](events.Hour), sessions: newTable[user, pantherSession](events.Day),
	}
}

// See implements [Rule].
func (p *panther) See(e *events.Event) []Alert {
	now := arrival(e)
	var alerts []Alert
	switch {
	case login(e):
		alerts = p.travel(alerts, e, now)
	case wrongPassword(e):
		alerts = pantherBruteForce(alerts, p.byUser.at(userOf(e), now), e, now, true)
		if e.IP != "" {
			alerts = pantherBruteForce(alerts, p.byIP.at(user{e.Tenant, e.IP}, now), e, now, false)
		}
	case denied(e):
		a := p.refusals.at(userOf(e), now)
		a.add(attemptOf(e), 30*events.Minute)
		if len(a.tries) >= pantherRefusals && a.due(30*events.Minute) {
			why := fmt.Sprintf("%d refused second factors in 30 minutes", len(a.tries))
			alerts = append(alerts, alert(e, "refused second factors", Fatigue, events.High, now+pantherDelay, why, a.others(e.ID)...))
		}
	}
	if e.Session.ID != "" && (e.Kind == events.SignIn || e.Kind == events.SessionUse) && e.Outcome == events.Success {
		alerts = p.session(alerts, e, now)
	}
	return alerts
}

func (p *panther) travel(alerts []Alert, e *events.Event, now events.Millis) []Alert {
	if !e.Place.Located() {
		return alerts
	}
	hidden := e.Network.Is(events.Relay) || e.Network.Is(events.VPN) || e.Network.Is(events.Satellite)
	here := spotOf(e)
	last := p.last.at(userOf(e), now)
	before := *last
	if !hidden {
		*last = here
	}
	if !before.seen || before.ip == here.ip || here.at-before.at > pantherMemory {
		return alerts
	}
	km, h := distance(&before, &here), hours(before.at, here.at)
	if h == 0 {
		h = 0.0001
	}
	if km/h <= pantherKmh {
		return alerts
	}
	severity := events.High
	switch {
	case hidden:
		severity = events.Info
	case h < 1.0/6 && km < 50:
		severity = events.Low
	}
	why := fmt.Sprintf("%s to %s at %.0f km/h", before.name(), here.name(), km/h)
	return append(alerts, alert(e, "travel", Travel, severity, now+pantherDelay, why, before.event))
}

func pantherBruteForce(alerts []Alert, a *attempts, e *events.Event, now events.Millis, ofUser bool) []Alert {
	a.add(attemptOf(e), events.Hour)
	if len(a.tries) < pantherFailures || !a.due(events.Hour) {
		return alerts
	}
	why := fmt.Sprintf("%d failures in 60 minutes", len(a.tries))
	told := alert(e, "brute force by user", Guessing, events.Medium, now+pantherDelay, why, a.others(e.ID)...)
	if !ofUser {
		told.Check, told.User = "brute force by address", ""
		if distinct(a.tries, byUser) > 1 {
			told.Kind = Spray
		}
	}
	return append(alerts, told)
}

func (p *panther) session(alerts []Alert, e *events.Event, now events.Millis) []Alert {
	s := p.sessions.at(user{e.Tenant, e.Session.ID}, now)
	first := s.ips == nil
	if first {
		s.ips = map[string]struct{}{}
	}
	_, known := s.ips[e.IP]
	agent, event := s.agent, s.event
	if len(s.ips) < MaxEvents {
		s.ips[e.IP] = struct{}{}
	}
	s.agent, s.event = e.UserAgent, e.ID
	if first || known || agent == "" || e.UserAgent == "" {
		return alerts
	}
	like := similarity(agent, e.UserAgent)
	if like >= pantherSimilarity {
		return alerts
	}
	why := fmt.Sprintf("A session at a new address with a user agent that is %.2f like the one before", like)
	return append(alerts, alert(e, "session", Session, events.High, now+pantherDelay, why, event))
}

// similarity of two texts is twice the bytes they share, as the longest common substring and, recursively, those left and
// right of it, over the bytes of both (Ratcliff and Metzener, "Pattern Matching: The Gestalt Approach", 1988). Only the first
// 512 bytes of each count.
func similarity(a, b string) float64 {
	const most = 512
	a, b = a[:min(len(a), most)], b[:min(len(b), most)]
	if a == b {
		return 1
	}
	return 2 * float64(shared(a, b)) / float64(len(a)+len(b))
}

func shared(a, b string) int {
	if a == "" || b == "" {
		return 0
	}
	i, j, n := longestCommon(a, b)
	if n == 0 {
		return 0
	}
	return n + shared(a[:i], b[:j]) + shared(a[i+n:], b[j+n:])
}

// longestCommon finds the longest common substring, the first of equals: where it is in both, and its length.
func longestCommon(a, b string) (i, j, n int) {
	lengths := make([]int, len(b)+1) // of common substrings that end here
	for x := range len(a) {
		diagonal := 0
		for y := range len(b) {
			above := lengths[y+1]
			lengths[y+1] = 0
			if a[x] == b[y] {
				lengths[y+1] = diagonal + 1
				if diagonal+1 > n {
					n = diagonal + 1
					i, j = x+1-n, y+1-n
				}
			}
			diagonal = above
		}
	}
	return i, j, n
}
