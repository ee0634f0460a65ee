package company

import (
	"fmt"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// Respond makes somebody meet a challenge: an interactive sign-in with a second factor or a security key, at a time, from
// wherever the person is then. A session that is given is the one that is proved, "" starts a new one. A time in the past
// of the stream means now.
//
// It reports false when nobody would: in a session that an attacker opened, nobody sees the challenge but the attacker,
// who has no second factor; in the air nobody signs in, and programs and printers never do. The error is
// for users the company does not have.
func (c *Company) Respond(tenant, user, session string, at events.Millis) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.Contains(user, "@") {
		return false, nil // a name that somebody tried
	}
	i, ok := c.userOf(tenant, user)
	if !ok {
		return false, fmt.Errorf("user %.80q of tenant %.80q does not work here", user, tenant)
	}
	if _, theirs := c.intruders[session]; theirs || c.staff[i].role != person {
		return false, nil
	}
	at = max(at, c.last)
	day := dayOf(at)
	s := slot{what: signIn, user: i, city: c.staff[i].home, day: uint8(day), marks: strongly}
	if t, away := c.tripAt(i, day); away {
		if s.city, ok = t.whereabouts(s.city, at); !ok {
			return false, nil
		}
	}
	s.gear, s.via = c.connection(i, session, at, s.city)
	s.at = uint32(at - base(day))
	if session == "" {
		session = sessionText(c.cfg.Seed, uint64(i), 1<<51+uint64(at))
	}
	d := delivery{at: at}
	c.write(&s, day, &d.event, &d.label)
	c.identify(&d.event, at, 1<<60|uint64(day))
	d.event.Session.ID = session
	d.event.Auth.Time = at
	if c.staff[i].method == noMethod { // then one is made known on the way
		d.event.Auth.MFA, d.event.Auth.Strength, d.event.Auth.Methods, d.event.Auth.ACR = events.MFAPerformed, events.MultiFactor, factors[smsMethod], acrMFA
	}
	d.label = Label{EventID: d.event.ID, Confounder: StepUpDone}
	c.push(d)
	return true, nil
}

// connection is how somebody is on the network at a time: as in what they do nearest to it in a session, or else with the
// laptop.
func (c *Company) connection(i uint32, session string, at events.Millis, city uint8) (gear, via) {
	best, nearest, distance := theLaptop, wifi, events.Millis(3*events.Hour)
	found := false
	for day := dayOf(at) - 1; day <= dayOf(at)+1; day++ {
		c.scratch = c.plan(c.scratch[:0], i, day)
		for k := range c.scratch {
			s := &c.scratch[k]
			then := base(day) + events.Millis(s.at)
			away := max(at-then, then-at)
			theirs := session != "" && c.sessionID(i, day, s.session, s.gear) == session
			if s.city != city || theirs == found && away >= distance || !theirs && (found || s.gear != theLaptop) {
				continue
			}
			if best, nearest, distance = s.gear, s.via, away; theirs {
				found = true
			}
		}
	}
	return best, nearest
}
