package anomaly

import (
	"fmt"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// TIM-01 sees a sign-in at an hour of the week at which the user is hardly ever active.
//
// Hours are UTC: a user's own habit is compared with itself, wherever that is. The hours beside one count half. An hour that has
// seen a whole sign-in of late is usual, however small its share.
//
// State: a histogram of 168 hours, decayed with a half-life of 60 days (U5), once 50 successes are known.
// Evidence: the hour and its share.
// False positives: people on call, travellers. It is information, for people and for other detections.
var tim01 = Detection{ID: "TIM-01", Version: 2, Title: "Off hours", Technique: "T1078", Severity: severities(events.Info)}

// TIM-02 sees the return of an account that was silent for a month or more.
//
// Long leave is normal, so unfamiliarity decides: after 90 days high from an unfamiliar place, medium otherwise, low with
// device and network known; after 30 days low. It does not pass the learning gate, which such an account enters anew.
//
// State: when the user was last seen (U7).
// Evidence: the length of the silence.
// False positives: leave, people who sign in a few times a year.
var tim02 = Detection{ID: "TIM-02", Version: 1, Title: "Dormant account returns", Technique: "T1078", Severity: severities(events.Low, events.Medium, events.High)}

// TIM-03 sees an attempt to sign in to an account that is disabled or whose user has left, or a success there.
//
// State: whether the account was reported as disabled (U7).
// Evidence: the provider's code; for a success, when the account was disabled.
// False positives: late data from human resources; devices that go on trying. One attempt a day is reported.
var tim03 = Detection{ID: "TIM-03", Version: 1, Title: "Disabled account", Technique: "T1078", Severity: severities(events.Medium, events.Critical)}

// judgeTiming looks at when a user signs in.
func (o *observation) judgeTiming() {
	o.disabledSuccess()
	if !o.login() {
		return
	}
	o.offHours()
	o.dormant()
}

// offHours is TIM-01. The hours beside one count half: habits are not that exact.
func (o *observation) offHours() {
	hours := &o.p.Hours
	total := hours.Total(o.e.Time)
	if total < float64(o.c.config.Timing.OffHoursAfter) {
		return
	}
	h := profile.HourOfWeek(o.e.Time, 0)
	count := func(hour int) float64 { return hours.Count(hour%profile.HoursOfWeek, o.e.Time) }
	seen := count(h) + float64((count(h+profile.HoursOfWeek-1)+count(h+1))/2)
	share := (seen + 1.0/168) / (total + 1)
	if share >= o.c.config.Timing.OffHours || seen >= 1 {
		return
	}
	l := ladder{severity: events.Info}
	o.report(&tim01, &l, fmt.Sprintf("Active at an hour of the week that has %.1f %% of the user's activity", share*100), events.Evidence{
		Facts: []events.Fact{{Name: "share", Value: fmt.Sprintf("%.4f", share)}, {Name: "hour_of_week", Value: strconv.Itoa(h)}},
	})
}

// dormant is TIM-02.
func (o *observation) dormant() {
	silence := o.e.Time - o.before
	if o.before == 0 || silence < ms(o.c.config.Timing.Quiet) {
		return
	}
	l := ladder{severity: events.Low}
	if silence >= ms(o.c.config.Timing.Dormant) {
		l.severity = events.Medium
		if o.country.value != 0 && !o.country.everKnown() || o.newPlace && !o.deviceID.everKnown() {
			l.severity = events.High
		}
	}
	l.allow(o, &o.at, nil)
	l.egress(o, &o.at, nil, effectLower)
	device := o.deviceID.everKnown() || o.deviceID.value == 0 && o.agent.everKnown() && o.p.CountTerms(profile.DeviceID, 0) == 0
	if o.network.everKnown() && device {
		l.rung(rungSame, effectLower, fmt.Sprintf("AS%d and the device were the user's before the silence", o.spot.ASN))
	} else {
		l.rung(rungSame, effectNone, "the network or the device was not the user's before the silence")
	}
	l.proof(o, effectRecord, true)
	o.report(&tim02, &l, "Back after a silence of "+span(silence), events.Evidence{
		Facts: []events.Fact{{Name: "last_seen", Value: o.before.String()}},
	})
}

// disabledTry is TIM-03 for an attempt.
func (o *observation) disabledTry() {
	if o.e.Cause != events.AccountDisabled || o.raised(&tim03, events.Day) {
		return
	}
	l := ladder{severity: events.Medium}
	l.allowFailure(o)
	o.report(&tim03, &l, "Somebody tried to sign in to a disabled account", events.Evidence{Facts: []events.Fact{{Name: "code", Value: o.e.Code}}})
}

// disabledSuccess is TIM-03 for a success after the account was disabled.
func (o *observation) disabledSuccess() {
	at := o.p.Marks.DisabledAt
	if at == 0 || o.e.Time < at+ms(o.c.config.Session.Skew) || o.worst(&tim03, events.Day) >= events.Critical.Rank() {
		return // an attempt before it does not make a success old news
	}
	l := ladder{severity: events.Critical}
	l.allow(o, &o.at, nil)
	o.report(&tim03, &l, "A disabled account signed in, "+span(o.e.Time-at)+" after it was disabled", events.Evidence{
		Facts: []events.Fact{{Name: "disabled_at", Value: at.String()}},
	})
}

// raised tells whether a detection has raised a finding of medium severity or more within a time before the event.
func (o *observation) raised(d *Detection, within events.Millis) bool { return o.worst(d, within) > 0 }

// worst is the rank of the gravest of those findings, 0 when there is none.
func (o *observation) worst(d *Detection, within events.Millis) int {
	code, rank := profile.DetectionOf(d.ID), 0
	for i := range o.p.Raised {
		if r := &o.p.Raised[i]; r.Detection == code && o.e.Time-r.Time <= within && r.Time-o.e.Time <= within {
			rank = max(rank, int(r.Severity))
		}
	}
	return rank
}
