package ssf_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
	"github.com/countersign-io/countersign/internal/source/ssf"
)

// everyType are the events that the conformance suite may send: SSF's, CAEP's and RISC's, each with the members that its
// definition requires.
func everyType() map[string]object {
	all := map[string]object{
		own + "verification": {}, own + "stream-updated": {"status": "enabled"},
		caep + "session-revoked":          {"reason_admin": object{"en": "policy"}},
		caep + "token-claims-change":      {"claims": object{"role": "ro-admin"}},
		caep + "credential-change":        {"credential_type": "app", "change_type": "create", "reason_admin": object{"en": "user"}},
		caep + "assurance-level-change":   {"namespace": "NIST-AAL", "current_level": "nist-aal2"},
		caep + "device-compliance-change": {"previous_status": "compliant", "current_status": "not-compliant"},
		caep + "session-established":      {"amr": []string{"pwd"}},
		caep + "session-presented":        {"ext_id": "e1"},
		caep + "risk-level-change":        {"principal": "USER", "current_level": "HIGH"},
		risc + "account-disabled":         {"reason": "hijacking"},
		risc + "identifier-changed":       {"new-value": "new@example.com"},
		risc + "credential-compromise":    {"credential_type": "password"},
	}
	for _, name := range []string{
		"account-credential-change-required", "account-purged", "account-enabled", "identifier-recycled", "opt-in", "opt-out-initiated",
		"opt-out-cancelled", "opt-out-effective", "recovery-activated", "recovery-information-changed", "sessions-revoked",
	} {
		all[risc+name] = object{}
	}
	return all
}

// typed are the claims of a token with one event.
func (p *party) typed(jti, kind string, members object) object {
	return p.claims(jti, func(c object) {
		c["events"] = object{kind: members}
		if strings.HasPrefix(kind, own) {
			c["sub_id"] = object{"format": "opaque", "id": "stream-1"}
		}
	})
}

// The suite's openid-ssf-receiver-stream-supported-events, by push and by poll: every type is accepted.
func TestReceiverStreamSupportedEvents(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	tr := p.transmitter(t, ssf.Deps{}, nil)
	d := newDesk(tr)
	for kind, members := range everyType() {
		token := rs256().sign(t, p.typed(kind, kind, members), nil)
		if w := d.push(token, nil); w.Code != http.StatusAccepted || w.Body.Len() != 0 {
			t.Errorf("%s: answered %d %s", kind, w.Code, w.Body)
		}
		p.offer(offer{kind, token})
	}
	var l ledger
	if _, err := tr.Fetch(t.Context(), nil, l.take); err != nil {
		t.Fatal(err)
	}
	if acked, reported := p.state(); len(acked) != len(everyType()) || len(reported) != 0 {
		t.Errorf("acknowledged %d, reported %v", len(acked), reported)
	}
	for _, value := range slices.Concat(d.taken(), l.values) {
		for _, r := range decode(tr.Decoder(), value) {
			if skipped := (&foreign.Skipped{}); errors.As(r.err, &skipped) && skipped.Reason == "stream" {
				continue
			}
			if r.err != nil {
				t.Errorf("%s: %v", r.record, r.err)
				continue
			}
			r.event.Clean()
			if err := r.event.Validate(); err != nil {
				t.Errorf("%s: %v", r.record, err)
			}
		}
	}
}

// The suite's openid-ssf-receiver-stream-caep-interop writes event_timestamp in milliseconds.
func TestReceiverStreamCAEPInterop(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	tr := p.transmitter(t, ssf.Deps{}, nil)
	at := time.Now().Add(-time.Minute).UnixMilli()
	for _, name := range []string{"session-revoked", "credential-change", "device-compliance-change"} {
		d := newDesk(tr)
		members := everyType()[caep+name]
		members["event_timestamp"] = at
		if w := d.push(rs256().sign(t, p.typed(name, caep+name, members), nil), nil); w.Code != http.StatusAccepted {
			t.Errorf("%s: answered %d %s", name, w.Code, w.Body)
			continue
		}
		if e := decode(tr.Decoder(), d.taken()[0])[0].event; e == nil || e.Time != events.Millis(at) {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// The suite's openid-ssf-receiver-stream-verification and -unsolicited-stream-verification: with a state, without one, and
// with null, as some transmitters write it.
func TestReceiverStreamVerification(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	d := newDesk(p.transmitter(t, ssf.Deps{}, nil))
	for _, members := range []object{{"state": "s-1"}, {}, {"state": nil}} {
		if w := d.push(rs256().sign(t, p.typed("v", own+"verification", members), nil), nil); w.Code != http.StatusAccepted || w.Body.Len() != 0 {
			t.Errorf("%v: answered %d %s", members, w.Code, w.Body)
		}
	}
}

// Shapes as in the examples of RFC 8417, section 2.1, and of RISC before SSF: what they become here.
func TestOlderShapes(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	for name, c := range map[string]struct {
		dialect ssf.Dialect
		typ     any
		claims  func(c object)
		status  int
		want    string // the event's kind and change, or why there is none
	}{
		"a SCIM resource": {ssf.SSF1, "secevent+jwt", func(c object) {
			c["events"] = object{"urn:ietf:params:scim:event:create": object{"ref": "https://scim.example.com/Users/44f6", "attributes": []string{"id", "name"}}}
		}, http.StatusAccepted, "left out (category)"},
		"a logout token is no event": {ssf.Google, "logout+jwt", func(c object) {
			c["events"], c["sub"], c["sid"] = object{"http://schemas.openid.net/event/backchannel-logout": object{}}, "u1", "s1"
		}, http.StatusBadRequest, "invalid_request"},
		"an ID token is no event": {ssf.Google, "JWT", func(c object) {
			delete(c, "events")
			c["sub"], c["exp"], c["nonce"] = "u1", time.Now().Add(time.Hour).Unix(), "n"
		}, http.StatusBadRequest, "invalid_request"},
		"RISC with subject and subject_type": {ssf.Google, nil, func(c object) {
			delete(c, "sub_id")
			c["events"] = object{risc + "account-disabled": object{"subject": object{"subject_type": "iss-sub", "iss": p.URL, "sub": "7375626A656374"}, "reason": "hijacking", "cause-time": 1508012752}}
		}, http.StatusAccepted, "account_change account disabled 7375626A656374"},
		"all tokens revoked": {ssf.Google, nil, func(c object) {
			delete(c, "sub_id")
			c["events"] = object{"https://schemas.openid.net/secevent/oauth/event-type/tokens-revoked": object{"subject": object{"subject_type": "id_token_claims", "iss": p.URL, "sub": "u1", "email": "u1@example.com"}}}
		}, http.StatusAccepted, "sign_out   u1"},
		"risk by Okta": {ssf.Okta, "secevent+jwt", func(c object) {
			delete(c, "sub_id")
			c["events"] = object{"https://schemas.okta.com/secevent/okta/event-type/user-risk-change": object{
				"subject": object{"user": object{"format": "iss_sub", "iss": p.URL, "sub": "u1"}}, "current_level": "high", "previous_level": "low", "reason_admin": object{"en": "reported"},
			}}
		}, http.StatusAccepted, "risk   u1"},
		"CAEP with a subject inside": {ssf.SSF1, "secevent+jwt", func(c object) {
			delete(c, "sub_id")
			c["events"] = object{caep + "session-revoked": object{"subject": object{"format": "iss_sub", "iss": p.URL, "sub": "u1"}}}
		}, http.StatusAccepted, "sign_out   u1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := p.transmitter(t, ssf.Deps{}, func(cfg *ssf.Config) { cfg.Dialect = c.dialect })
			d := newDesk(tr)
			if w := d.push(rs256().sign(t, p.claims("j", c.claims), object{"typ": c.typ}), nil); w.Code != c.status {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
			r := decode(tr.Decoder(), d.taken()[0])[0]
			got := fmt.Sprint(r.err)
			if e := r.event; e != nil {
				got = fmt.Sprintf("%s %s %s %s", e.Kind, e.Change.Type, e.Change.Action, e.User.ID)
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// The bodies of RFC 8936, section 2.4: a first poll, a poll that acknowledges, and one that reports.
func TestPollBodies(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	tr := p.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.Poll.MaxEvents = 2 })
	p.offer(
		offer{"4d3559ec67504aaba65d40b0363faad8", rs256().sign(t, p.claims("4d3559ec67504aaba65d40b0363faad8", nil), nil)},
		offer{"3d0c3cf797584bd193bd0fb1bd4e7d30", rs256().sign(t, p.claims("3d0c3cf797584bd193bd0fb1bd4e7d30", func(c object) { c["aud"] = "x" }), nil)},
	)
	var l ledger
	if _, err := tr.Fetch(t.Context(), nil, l.take); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"maxEvents":2,"returnImmediately":true}`,
		`{"maxEvents":2,"returnImmediately":true,"ack":["4d3559ec67504aaba65d40b0363faad8"],"setErrs":{"3d0c3cf797584bd193bd0fb1bd4e7d30":{"description":"aud: is [\"x\"], must be one of [\"https://countersign.example/ssf\"]","err":"invalid_audience"}}}`,
	}
	var got []object
	for _, body := range want {
		var o object
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			t.Fatal(err)
		}
		got = append(got, o)
	}
	if diff := cmp.Diff(got, p.polls); diff != "" {
		t.Error(diff)
	}
}
