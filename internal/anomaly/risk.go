package anomaly

import (
	"fmt"
	"math"
	"slices"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// RSK-01 sees a user whose findings add up: the sum of what they are worth passes 50 decibans, or 80.
//
// A deciban is ten times the decimal logarithm of a likelihood ratio: 10 decibans are ten to one. Until a detection's ratio is
// measured, information is worth 2, low 5, medium 15, high 30, critical 60. Of one event and one group of detections that see
// the same thing the greatest counts; a repeat within a week counts a quarter, or what it is graver by. Attempts that failed count a
// quarter, never carry the sum above the lower limit, and make it medium at most: anybody can fail. The sum halves in a week. A
// phishing-resistant proof clears it; another second factor halves it, because such proofs can be relayed; a change of the
// credential clears all but what is about sessions.
//
// State: the sum and its greatest parts (U8).
// Evidence: the sum before and after, the parts.
// False positives: findings that are about the same thing add up though they are not independent; take it as a ranking.
var rsk01 = Detection{ID: "RSK-01", Version: 2, Title: "Accumulated risk", Technique: "T1078", Severity: severities(events.Medium, events.High)}

// decibans is what a finding is worth until its likelihood ratio is known.
var decibans = map[events.Severity]float64{events.Info: 2, events.Low: 5, events.Medium: 15, events.High: 30, events.Critical: 60}

// group names the detections that see the same thing.
func group(id string) string {
	if len(id) < 3 {
		return id // of a later version
	}
	switch family := id[:3]; family {
	case "LOC", "NET", "FAM", "CON", "TIM", "PRV":
		return "unfamiliar"
	case "SES", "AIT":
		return "session"
	default:
		return family
	}
}

// judgeRisk is RSK-01: it takes the event's findings into the user's risk.
func (o *observation) judgeRisk() {
	r, now := &o.p.Risk, o.e.Time
	unrelieved := o.riskAt(now)
	before := unrelieved
	if !o.adverse() {
		o.relieve(&before)
	}
	o.rearm(before)
	worth := map[string]*events.Finding{}
	var groups []string
	for i := range o.findings {
		f := &o.findings[i]
		if f.Disposition != events.Active {
			continue
		}
		g := group(f.Detection)
		if best := worth[g]; best == nil {
			groups = append(groups, g)
			worth[g] = f
		} else if f.Severity.Rank() > best.Severity.Rank() {
			worth[g] = f
		}
	}
	after := before
	for _, g := range groups {
		f := worth[g]
		d := profile.DetectionOf(f.Detection)
		v := decibans[f.Severity]
		tried := o.tried(f)
		if tried {
			v /= 4 // somebody tries: that says little of whether anybody is in
		}
		earlier := 0.0
		for _, part := range r.Parts {
			if part.Detection == d && now-part.Time <= ms(o.c.config.Risk.Repeat) && now >= part.Time {
				earlier = max(earlier, float64(part.Decibans))
			}
		}
		if earlier > 0 {
			v = max(v/4, v-earlier) // a repeat, unless it is graver
		}
		if tried {
			after = max(after, min(after+v, o.c.config.Risk.Medium)) // or an outsider's patience would make the user's next journey high
		} else {
			after += v
		}
		r.Add(profile.RiskPart{Detection: d, Time: now, Decibans: float32(v)}, 8*ms(o.c.config.Risk.HalfLife))
	}
	after = min(after, maxRisk)
	if after != unrelieved { // else it fades by itself: written for every event, that would be lost to rounding
		r.Sum, r.At = float32(after), max(r.At, now)
	}
	if len(groups) > 0 {
		o.accumulated(before, after)
	}
}

// rearmed is how far below a limit the sum must fall, as a share, before passing it is news again.
const rearmed = 0.9

// rearm forgets that a limit was passed once the sum is well below it.
func (o *observation) rearm(sum float64) {
	r, limits := &o.p.Risk, &o.c.config.Risk
	switch {
	case sum < limits.Medium*rearmed:
		r.Told = 0
	case sum < limits.High*rearmed:
		r.Told = min(r.Told, uint8(events.Medium.Rank()))
	}
}

// maxRisk bounds the sum; it is far above anything that matters.
const maxRisk = 1000

// accumulated reports a sum that has passed a limit.
func (o *observation) accumulated(before, after float64) {
	limits := &o.c.config.Risk
	l := ladder{severity: events.Medium}
	// What is low alone, and what was only tried, must not end in a revocation.
	if after >= limits.High && slices.ContainsFunc(o.findings, func(f events.Finding) bool { return adverse(f) && !o.tried(&f) }) {
		l.severity = events.High
	}
	if rank := uint8(l.severity.Rank()); after < limits.Medium || o.p.Risk.Told >= rank {
		return
	} else {
		o.p.Risk.Told = rank
	}
	risk := events.UserRisk{Before: tenth(before), After: tenth(after)}
	for _, part := range o.p.Risk.Parts {
		risk.Parts = append(risk.Parts, events.RiskPart{
			Detection: part.Detection.String(), Time: part.Time, Decibans: tenth(float64(part.Decibans) * o.halved(o.e.Time-part.Time)),
		})
	}
	o.report(&rsk01, &l, fmt.Sprintf("The user's findings add up to %.0f decibans, %.0f before", after, before), events.Evidence{Risk: &risk})
}

// relieve takes off what a proof of identity in this event answers.
func (o *observation) relieve(sum *float64) {
	r, e := &o.p.Risk, o.e
	if *sum == 0 {
		return
	}
	switch {
	case phishingResistant(e) && success(e):
		*sum, r.Parts = 0, nil
	case o.stepUp():
		*sum /= 2
	case e.Kind == events.AccountChange && e.Change.Type == events.CredentialChange && len(o.findings) == 0:
		kept, left := r.Parts[:0:0], 0.0
		for _, part := range r.Parts {
			if group(part.Detection.String()) == "session" {
				kept = append(kept, part)
				left += float64(float64(part.Decibans) * o.halved(e.Time-part.Time))
			}
		}
		*sum, r.Parts = min(*sum, left), kept
	}
}

// riskAt is the user's risk at a moment, in hundredths of a deciban.
func (o *observation) riskAt(now events.Millis) float64 {
	r := &o.p.Risk
	if r.Sum == 0 {
		return 0
	}
	return math.Round(float64(r.Sum)*o.halved(now-r.At)*100) / 100
}

// riskNow is the user's risk at the event.
func (o *observation) riskNow() float64 { return o.riskAt(o.e.Time) }

// halved is what is left of a weight after a time.
func (o *observation) halved(age events.Millis) float64 {
	return halved(age, ms(o.c.config.Risk.HalfLife))
}

// roots are what is left after a half, a quarter and so on of a half-life. Square roots are the same on every processor, which
// [math.Exp2] is not.
var roots = func() (table [32]float64) {
	v := 0.5
	for i := range table {
		v = math.Sqrt(v)
		table[i] = v
	}
	return table
}()

// halved is 2^(-age/half), 1 for a time in the future.
func halved(age, half events.Millis) float64 {
	if age <= 0 {
		return 1
	}
	left := math.Ldexp(1, -int(min(age/half, 2000))) // 2^-2000 is 0
	rest := age % half
	for _, root := range roots {
		if rest *= 2; rest >= half {
			rest -= half
			left = float64(left * root)
		}
	}
	return left
}

// PRV-01 sees a privileged user with something new: a country, a network or a device. What is low for others is medium for
// those who can do most harm.
//
// State: none; the source says who is privileged.
// Evidence: the finding that it raises by one step.
// False positives: as the finding that it is about. A known device on the new network, or a known network of the new device,
// lowers it again.
var prv01 = Detection{ID: "PRV-01", Version: 1, Title: "Privileged user, something new", Technique: "T1078.004", Severity: severities(events.Low, events.Medium, events.High)}

// judgePrivilege is PRV-01.
func (o *observation) judgePrivilege() {
	if o.e.User.Privileged != events.Yes || len(o.findings) == 0 {
		return
	}
	var base *events.Finding
	for i := range o.findings {
		f := &o.findings[i]
		if d := f.Detection; (d == loc04.ID || d == net01.ID || d == dev01.ID) && f.Disposition == events.Active &&
			(base == nil || f.Severity.Rank() > base.Severity.Rank()) {
			base = f
		}
	}
	if base == nil {
		return
	}
	l := ladder{severity: events.Severities[min(base.Severity.Rank(), len(events.Severities)-1)]}
	switch {
	case base.Detection == net01.ID && o.familiarDevice():
		l.rung(rungSame, effectLower, "the device is known of the user")
	case base.Detection == dev01.ID && o.spot.ASN != 0 && !o.network.unknown:
		l.rung(rungSame, effectLower, fmt.Sprintf("AS%d is known of the user", o.spot.ASN))
	default:
		l.rung(rungSame, effectNone, "neither a known device nor a known network speaks for the user")
	}
	o.report(&prv01, &l, "A privileged user: "+base.Summary, events.Evidence{
		Earlier: []events.Earlier{{Detection: base.Detection, EventID: o.e.ID, Time: o.e.Time, Severity: base.Severity}},
	})
}
