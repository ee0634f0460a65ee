package peers

import (
	"cmp"
	"fmt"

	"github.com/countersign-io/countersign/internal/events"
)

// check is one of a peer's checks. It takes every event, with the time it arrived.
type check interface {
	see(e *events.Event, now events.Millis) []Alert
}

// checks is a rule of several checks.
type checks []check

// See implements [Rule].
func (c checks) See(e *events.Event) []Alert {
	now := arrival(e)
	var alerts []Alert
	for _, one := range c {
		alerts = append(alerts, one.see(e, now)...)
	}
	return alerts
}

// group is a check that gathers events by a key within a window of time, and fires when together they are too many. It tells
// once for a window.
type group struct {
	check    string
	kind     Kind
	severity events.Severity
	window   events.Millis
	when     schedule
	// key of an event, or "" for those that do not concern the check. personal tells that the key is about one user.
	key      func(*events.Event) string
	personal bool
	fires    func(tries []attempt) bool

	rows table[user, attempts]
}

func newGroup(g group) *group {
	g.rows = newTable[user, attempts](g.window + events.Hour)
	return &g
}

func (g *group) see(e *events.Event, now events.Millis) []Alert {
	key := g.key(e)
	if key == "" {
		return nil
	}
	a := g.rows.at(user{e.Tenant, key}, now)
	a.add(attemptOf(e), g.window)
	if a.last < a.quiet || !g.fires(a.tries) {
		return nil
	}
	at, ok := g.when.tells(now, a.oldest())
	if !ok || !a.due(g.window) {
		return nil
	}
	told := alert(e, g.check, g.kind, g.severity, at, fmt.Sprintf("%s: %d events in %d minutes", g.check, len(a.tries),
		g.window/events.Minute), a.others(e.ID)...)
	if !g.personal {
		told.User = ""
	}
	return []Alert{told}
}

// The keys of groups.

func userFailing(e *events.Event) string {
	if !wrongPassword(e) {
		return ""
	}
	return e.User.ID
}

func addressFailing(e *events.Event) string {
	if !wrongPassword(e) {
		return ""
	}
	return e.IP
}

func agentFailing(e *events.Event) string {
	if !wrongPassword(e) {
		return ""
	}
	return e.UserAgent
}

func userRefusing(e *events.Event) string {
	if !denied(e) {
		return ""
	}
	return e.User.ID
}

func userGuessingCodes(e *events.Event) string {
	if e.Kind != events.SignIn || e.Cause != events.BadCode {
		return ""
	}
	return e.User.ID
}

func tenantLocked(e *events.Event) string {
	if e.Kind != events.SignIn || e.Cause != events.AccountLocked {
		return ""
	}
	return "*"
}

// sessionKey is the session of a success, at the identity provider or at an application.
func sessionKey(e *events.Event) string {
	if e.Kind != events.SignIn && e.Kind != events.SessionUse || e.Outcome != events.Success {
		return ""
	}
	return e.Session.ID
}

// deviceHash stands for what providers compute of a device: its id, or what is known of it.
func deviceHash(e *events.Event) string {
	return cmp.Or(e.Device.ID, e.Device.OS+" "+e.Device.Browser+" "+e.Device.Type)
}

// perUser is the largest number of tries of one user, and how many users were tried once.
func perUser(tries []attempt) (most, once int) {
	count := map[string]int{}
	for i := range tries {
		count[tries[i].user]++
	}
	for _, n := range count {
		most = max(most, n)
		if n == 1 {
			once++
		}
	}
	return most, once
}

// novelty is a check for a value that a user, or a whole tenant, did not have in a window. It is silent until the tenant has
// been watched for the length of the window.
type novelty struct {
	check    string
	kind     Kind
	severity events.Severity
	window   events.Millis
	when     schedule
	value    func(*events.Event) string // "" when there is none
	tenant   bool                       // the value is new for the tenant, not for the user

	since map[string]events.Millis
	seen  table[term, bool]
}

type term struct {
	user
	value string
}

func newNovelty(n novelty) *novelty {
	n.since, n.seen = map[string]events.Millis{}, newTable[term, bool](n.window)
	return &n
}

func (n *novelty) see(e *events.Event, now events.Millis) []Alert {
	if _, known := n.since[e.Tenant]; !known {
		n.since[e.Tenant] = now
	}
	value := n.value(e)
	if value == "" {
		return nil
	}
	key := term{userOf(e), value}
	if n.tenant {
		key.id = ""
	}
	seen := n.seen.at(key, now)
	if *seen {
		return nil
	}
	*seen = true
	if now-n.since[e.Tenant] < n.window {
		return nil
	}
	at, ok := n.when.tells(now, e.Time)
	if !ok {
		return nil
	}
	why := fmt.Sprintf("Not seen in %d days: %.200s", n.window/events.Day, value)
	return []Alert{alert(e, n.check, n.kind, n.severity, at, why)}
}
