package stepupssf_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/stepup"
	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

// TestPlainEventsDoWhatTheConfigurationSays.
func TestPlainEventsDoWhatTheConfigurationSays(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	email := object{"format": "email", "email": "u1@example.com"}
	both := object{"format": "complex", "user": email, "session": opaque("s1")}
	risk := func(level, principal string) object { return object{"current_level": level, "principal": principal} }
	p.metadata = object{"critical_subject_members": []string{"device", "session"}}
	for name, c := range map[string]struct {
		kind    string
		members object
		subject object
		edit    func(*stepupssf.Config)
		want    stepup.Requirement // without times and names; no action for an event that is only told of
	}{
		"session revoked":          {kind: "session-revoked", subject: both, want: stepup.Requirement{Action: stepup.ActionRevokeSession, Subject: stepup.Subject{Session: "s1"}}},
		"sessions of a user":       {kind: "session-revoked", subject: email, want: stepup.Requirement{Action: stepup.ActionRevokeSession}},
		"high risk of a user":      {kind: "risk-level-change", members: risk("HIGH", "USER"), subject: both, want: stepup.Requirement{Action: stepup.ActionStepUp, ACRValues: []string{"phr"}, Severity: "high", Reason: "Sorry."}},
		"high risk of a session":   {kind: "risk-level-change", members: risk("high", "session"), subject: both, want: stepup.Requirement{Action: stepup.ActionStepUp, Subject: stepup.Subject{Session: "s1"}, ACRValues: []string{"phr"}, Severity: "high", Reason: "Sorry."}},
		"high risk of a device":    {kind: "risk-level-change", members: risk("HIGH", "DEVICE"), subject: both},
		"low risk":                 {kind: "risk-level-change", members: risk("LOW", "USER"), subject: both},
		"high risk, no demand":     {kind: "risk-level-change", members: risk("HIGH", "USER"), subject: both, edit: func(c *stepupssf.Config) { c.HighRisk = nil }},
		"lower assurance":          {kind: "assurance-level-change", members: object{"change_direction": "decrease"}, subject: email, want: stepup.Requirement{Action: stepup.ActionRevokeAll}},
		"higher assurance":         {kind: "assurance-level-change", members: object{"change_direction": "increase"}, subject: email},
		"another event":            {kind: "credential-change", subject: email},
		"an unknown user":          {kind: "session-revoked", subject: object{"format": "email", "email": "other@example.com"}},
		"critical, but understood": {kind: "session-revoked", subject: object{"format": "complex", "user": email, "device": opaque("d")}, edit: func(c *stepupssf.Config) { c.SubjectMembers = []string{"device"} }, want: stepup.Requirement{Action: stepup.ActionRevokeSession}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := p.app(stepupssf.Push, func(cfg *stepupssf.Config) {
				known(cfg)
				cfg.ThirdParty = true
				cfg.Subject = func(_ context.Context, id stepupssf.SubjectIdentifier) (stepup.Subject, error) {
					user := id
					if id.Format == "complex" {
						user = id.Members["user"]
					}
					if user.Email != "u1@example.com" {
						return stepup.Subject{}, stepupssf.ErrUnknownSubject
					}
					return stepup.Subject{Tenant: "acme", User: "u1", Session: id.Members["session"].ID}, nil
				}
				cfg.HighRisk = &stepupssf.Demand{ACRValues: []string{"phr"}, Lifetime: time.Hour, Severity: "high", Reason: "Sorry."}
				cfg.LowerAssurance = &stepupssf.Demand{Action: stepup.ActionRevokeAll}
				if c.edit != nil {
					c.edit(cfg)
				}
			})
			members := maps.Clone(c.members)
			if members == nil {
				members = object{}
			}
			jti := p.jti()
			if got := refusal(t, a.post(key1().sign(p.claims(jti, caep+c.kind, members, func(o object) { o["sub_id"] = c.subject }), nil), nil)); got != "" {
				t.Fatal(got)
			}
			p.start(a)
			p.until("it was told", func() bool { return a.Stats().Waiting == 0 })
			if err := a.stop(); err != nil {
				t.Fatal(err)
			}
			applied, events := a.told()
			if c.want.Action == "" {
				if len(applied) != 0 || !slices.Equal(events, []string{caep + c.kind}) {
					t.Errorf("applied %v, events %v", applied, events)
				}
				return
			}
			if len(a.applied) != 1 || len(events) != 0 {
				t.Fatalf("applied %v, events %v", applied, events)
			}
			got := a.applied[0].Requirement
			if got.ID == "" || got.JTI != jti || got.Tenant != "acme" || got.User != "u1" || time.Since(got.NotBefore) > time.Minute || !got.Expires.After(time.Now()) {
				t.Errorf("%+v", got)
			}
			if !got.ThirdParty {
				t.Error("it is not known as a third party's")
			}
			got.ID, got.JTI, got.Tenant, got.User, got.NotBefore, got.Expires, got.ThirdParty = "", "", "", "", time.Time{}, time.Time{}, false
			if diff := cmp.Diff(got, c.want); diff != "" {
				t.Errorf("(-got, +want):\n%s", diff)
			}
		})
	}
}

// TestACriticalMemberThatIsNotUnderstoodDiscardsTheEvent: it is accepted, and nothing happens.
func TestACriticalMemberThatIsNotUnderstoodDiscardsTheEvent(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	p.metadata = object{"critical_subject_members": []string{"device"}}
	a := p.app(stepupssf.Push, known)
	set := key1().sign(p.claims("j1", caep+"session-revoked", object{}, func(c object) { c["sub_id"].(object)["device"] = opaque("d1") }), nil)
	if got := refusal(t, a.post(set, nil)); got != "" || a.open("u1") || a.Stats().Waiting != 0 {
		t.Errorf("%q, open %v, %+v", got, a.open("u1"), a.Stats())
	}
}

// TestAThirdPartyCannotCloseOurRequirements, nor speak of other tenants, nor make the index fresh.
func TestAThirdPartyCannotCloseOurRequirements(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, delivery stepupssf.Delivery) {
		p := newTransmitter(t)
		a := p.live(p.app(delivery, func(c *stepupssf.Config) { c.ThirdParty, c.Tenant = true, "acme" }))
		ours, err := stepup.ParseClaimsOf([]byte(text(p.claims("k1", stepup.EventStepUpRequired, required("r-u1", "open"), nil))), stepup.Subject{Tenant: "acme", User: "u1"})
		if err != nil || !a.index.Apply(ours) {
			t.Fatal(err)
		}
		if got := p.send(a, delivery, "j1", p.stepUp("j1", "u1", "satisfied")); got != "ok" || !a.open("u1") {
			t.Errorf("step-up-required: %s, open %v", got, a.open("u1"))
		}
		revoked := required("r-u1", "satisfied")
		revoked["action"] = "revoke_session"
		if got := p.send(a, delivery, "j2", key1().sign(p.claims("j2", caep+"session-revoked", revoked, nil), nil)); got != "ok" || !a.open("u1") {
			t.Errorf("session-revoked: %s, open %v", got, a.open("u1"))
		}
		if r, ok := a.index.Check(stepup.Subject{Tenant: "acme", User: "u1"}); !ok || !r.ThirdParty || r.Action != stepup.ActionRevokeSession {
			t.Errorf("%+v is not known as a third party's", r)
		}
		if s := a.index.Stats(); s.Open != 2 || s.Closed != 0 {
			t.Errorf("%+v, want our requirement and the revocation", s)
		}
		other := p.claims("j3", caep+"session-revoked", object{}, func(c object) { c["sub_id"].(object)["tenant"] = opaque("other") })
		if got := p.send(a, delivery, "j3", key1().sign(other, nil)); got == "ok" {
			t.Error("it speaks of another tenant")
		}
		if _, fresh := a.index.Fresh(); fresh {
			t.Error("it makes the index fresh")
		}
	})
}

// TestASubjectThatCannotBeLookedUpNow is neither refused nor lost.
func TestASubjectThatCannotBeLookedUpNow(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	fail := errors.New("directory is away")
	a := p.app(stepupssf.Push, func(c *stepupssf.Config) {
		known(c)
		c.Subject = func(context.Context, stepupssf.SubjectIdentifier) (stepup.Subject, error) {
			return stepup.Subject{Tenant: "acme", User: "u1"}, fail
		}
	})
	set := p.stepUp("j1", "u1", "open")
	for _, c := range []struct {
		err  error
		want string
	}{
		{fail, "Service Unavailable"}, {fmt.Errorf("x: %w", stepupssf.ErrForeignSubject), "access_denied"}, {nil, ""},
	} {
		fail = c.err
		if got := refusal(t, a.post(set, nil)); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
	if !a.open("u1") {
		t.Error("it was lost")
	}
}

// TestTwoReceiversFeedOneIndex: each has its own stream, and the same decision over both has one effect.
func TestTwoReceiversFeedOneIndex(t *testing.T) {
	t.Parallel()
	one, two := newTransmitter(t), newTransmitter(t)
	a := one.live(one.app(stepupssf.Push, nil))
	b := two.app(stepupssf.Poll, nil)
	var err error
	cfg := two.config(stepupssf.Poll)
	cfg.Applied = func(stepup.Claims) { t.Error("the second copy had an effect") }
	if b.Receiver, err = stepupssf.New(cfg, a.index); err != nil {
		t.Fatal(err)
	}
	b.index = a.index
	two.live(b)
	if got := one.send(a, stepupssf.Push, "j1", one.stepUp("j1", "u1", "open")); got != "ok" {
		t.Fatal(got)
	}
	if got := two.send(b, stepupssf.Poll, "j1", two.stepUp("j1", "u1", "open")); got != "ok" {
		t.Fatal(got)
	}
	two.until("all was told", func() bool { return a.Stats().Waiting == 0 && b.Stats().Waiting == 0 })
	if applied, _ := a.told(); len(applied) != 1 || a.index.Stats().Open != 1 {
		t.Errorf("applied %v, %+v", applied, a.index.Stats())
	}
}

// TestTheSameDecisionsOverSeveralFeeds is a law: whatever copies come, over Kafka and over SSF, in whatever order and
// however often, the index ends as after one copy of each in the order of their lives, and the application is told of a
// change once.
func TestTheSameDecisionsOverSeveralFeeds(t *testing.T) {
	t.Parallel()
	p := newTransmitter(t)
	rapid.Check(t, func(t *rapid.T) {
		feed := p.app(stepupssf.Push, known)
		one := newIndex(p.TB)
		type copied struct {
			kafka bool
			set   string
		}
		var copies []copied
		ended := map[string]bool{}
		for n := range rapid.IntRange(1, 6).Draw(t, "requirements") {
			user := fmt.Sprint("u", n%3)
			statuses := rapid.SampledFrom([][]string{{"open"}, {"open", "satisfied"}, {"open", "expired"}}).Draw(t, "statuses")
			for _, status := range statuses {
				kind := rapid.SampledFrom([]string{stepup.EventStepUpRequired, stepup.EventRiskLevelChange, stepup.EventAssuranceLevelChange}).Draw(t, "type")
				jti := fmt.Sprint("j-", n, status)
				claims := func(kind string) object {
					return p.claims(jti, kind, required(fmt.Sprint("r", n), status), func(c object) { c["sub_id"] = subject(user, "") })
				}
				c, err := stepup.ParseClaims([]byte(text(claims(stepup.EventStepUpRequired))))
				if err != nil {
					t.Fatal(err)
				}
				one.Apply(c)
				ended[fmt.Sprint("r", n)] = status != "open"
				for range rapid.IntRange(1, 3).Draw(t, "copies") {
					if rapid.Bool().Draw(t, "kafka") {
						copies = append(copies, copied{true, text(claims(stepup.EventStepUpRequired))})
					} else {
						copies = append(copies, copied{false, key1().sign(claims(kind), nil)})
					}
				}
			}
		}
		changes := 0
		for _, c := range rapid.Permutation(copies).Draw(t, "order") {
			if !c.kafka {
				if got := refusal(p.TB, feed.post(c.set, nil)); got != "" {
					t.Fatal(got)
				}
				continue
			}
			claims, err := stepup.ParseClaims([]byte(c.set))
			if err != nil {
				t.Fatal(err)
			}
			if feed.index.Apply(claims) {
				changes++
			}
		}
		if diff := cmp.Diff(feed.index.Stats(), one.Stats()); diff != "" {
			t.Fatalf("(-got, +want):\n%s", diff)
		}
		for n := range 3 {
			who := stepup.Subject{Tenant: "acme", User: fmt.Sprint("u", n)}
			got, open := feed.index.Check(who)
			want, wanted := one.Check(who)
			if open != wanted || open && ended[got.ID] || open && got.Action != want.Action {
				t.Fatalf("%v: %+v, want %+v", who, got, want)
			}
		}
		// An application that runs is told of as many changes as there were over this feed.
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- feed.Run(ctx) }()
		p.until("all was told", func() bool { return feed.Stats().Waiting == 0 })
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		applied, _ := feed.told()
		slices.Sort(applied)
		if twice := len(applied) - len(slices.Compact(slices.Clone(applied))); twice != 0 {
			t.Fatalf("told twice: %v", applied)
		}
		if n := len(applied) + changes; n < len(ended) {
			t.Fatalf("%d changes of %d requirements", n, len(ended))
		}
	})
}
