package main

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const broken = ";{ broken"

// modules are those of the suite's transmitter plans, by their names there.
var modules = []struct {
	name string
	// only says for which method a module is: both when empty.
	only string
	run  func(t *testing.T, p *party)
}{
	{"openid-ssf-transmitter-metadata", "", func(t *testing.T, p *party) {
		m := p.metadata(t)
		if text(m, "issuer") != p.issuer {
			t.Errorf("issuer is %v, want %s", m["issuer"], p.issuer)
		}
		for _, name := range []string{"jwks_uri", "configuration_endpoint", "status_endpoint", "verification_endpoint", "add_subject_endpoint", "remove_subject_endpoint"} {
			if !strings.HasPrefix(text(m, name), "https://") {
				t.Errorf("%s is %v", name, m[name])
			}
		}
		if d := text(m, "default_subjects"); d != "ALL" && d != "NONE" {
			t.Errorf("default_subjects is %v", m["default_subjects"])
		}
		if v := text(m, "spec_version"); strings.Contains(v, ".") || v < "1_0" || strings.HasPrefix(v, "1_0-") {
			t.Errorf("spec_version is %v", m["spec_version"])
		}
		if methods := list(m["delivery_methods_supported"]); !slices.Contains(methods, push) || !slices.Contains(methods, poll) {
			t.Errorf("delivery_methods_supported are %v", methods)
		}
		oauth := false
		schemes, _ := m["authorization_schemes"].([]any)
		for _, s := range schemes {
			o, _ := s.(object)
			urn := text(o, "spec_urn")
			if !strings.HasPrefix(urn, "urn:") {
				t.Errorf("spec_urn is %q", urn)
			}
			oauth = oauth || urn == "urn:ietf:rfc:6749"
		}
		if !oauth {
			t.Errorf("authorization_schemes are %v", schemes)
		}
		for name, v := range m {
			if a, ok := v.([]any); ok && len(a) == 0 {
				t.Errorf("%s is an empty array", name)
			}
		}
		keys := p.want(t, http.StatusOK, http.MethodGet, text(m, "jwks_uri"), nil)
		published, _ := keys["keys"].([]any)
		if len(published) == 0 {
			t.Fatalf("jwks is %v", keys)
		}
		for _, k := range published {
			o, _ := k.(object)
			if text(o, "kty") != "RSA" || text(o, "kid") == "" || o["d"] != nil {
				t.Errorf("a key is %v", o)
			}
		}
	}},
	{"openid-ssf-stream-control-happy-path", "", func(t *testing.T, p *party) {
		_, id := p.create(t, "")
		conf, status := p.endpoint(t, "configuration_endpoint"), p.endpoint(t, "status_endpoint")
		p.checkStream(t, p.want(t, http.StatusOK, http.MethodGet, p.about(t, id), nil))
		patched := p.want(t, http.StatusOK, http.MethodPatch, conf, object{"stream_id": id, "description": "patched"})
		p.checkStream(t, patched)
		if text(patched, "description") != "patched" {
			t.Errorf("description is %v", patched["description"])
		}
		replaced := p.want(t, http.StatusOK, http.MethodPut, conf, object{
			"stream_id": id, "delivery": p.delivery("/replaced", ""), "events_requested": interopEvents[:1], "description": "replaced",
		})
		if d := list(replaced["events_delivered"]); len(d) != 1 || d[0] != interopEvents[0] {
			t.Errorf("events_delivered are %v", d)
		}
		got := p.want(t, http.StatusOK, http.MethodGet, status+"?stream_id="+url.QueryEscape(id), nil)
		if text(got, "status") != "enabled" || text(got, "stream_id") != id {
			t.Errorf("status is %v", got)
		}
		for _, want := range []string{"enabled", "paused", "disabled"} {
			got := p.want(t, http.StatusOK, http.MethodPost, status+"?stream_id="+url.QueryEscape(id), object{"stream_id": id, "status": want})
			if text(got, "status") != want {
				t.Errorf("status is %v, want %s", got, want)
			}
		}
		p.want(t, http.StatusNoContent, http.MethodDelete, p.about(t, id), nil)
	}},
	{"openid-ssf-stream-control-error-create-stream-with-broken-input", "", func(t *testing.T, p *party) {
		p.want(t, http.StatusBadRequest, http.MethodPost, p.endpoint(t, "configuration_endpoint"), broken)
	}},
	{"openid-ssf-stream-control-error-create-stream-with-invalid-token", "", func(t *testing.T, p *party) {
		p.refused(t, http.MethodPost, p.endpoint(t, "configuration_endpoint"), object{"delivery": p.delivery("/x", "")})
	}},
	{"openid-ssf-stream-control-error-create-stream-with-duplicate-config", "", func(t *testing.T, p *party) {
		p.create(t, "")
		status, _, body := p.call(t, http.MethodPost, p.endpoint(t, "configuration_endpoint"), object{"delivery": p.delivery("/twice", ""), "events_requested": interopEvents})
		if status != http.StatusCreated && status != http.StatusConflict {
			t.Errorf("got %d %s", status, body)
		}
		if status == http.StatusCreated {
			p.want(t, http.StatusNoContent, http.MethodDelete, p.about(t, idOf(t, body)), nil)
		}
	}},
	{"openid-ssf-stream-control-error-read-stream-with-invalid-token", "", func(t *testing.T, p *party) {
		_, id := p.create(t, "")
		p.refused(t, http.MethodGet, p.about(t, id), nil)
	}},
	{"openid-ssf-stream-control-error-read-unknown-stream", "", func(t *testing.T, p *party) {
		p.want(t, http.StatusNotFound, http.MethodGet, p.about(t, p.gone(t)), nil)
	}},
	{"openid-ssf-stream-control-error-update-stream-with-invalid-token", "", func(t *testing.T, p *party) {
		_, id := p.create(t, "")
		p.refused(t, http.MethodPatch, p.endpoint(t, "configuration_endpoint"), object{"stream_id": id, "description": "x"})
	}},
	{"openid-ssf-stream-control-error-update-stream-with-invalid-body", "", func(t *testing.T, p *party) {
		p.want(t, http.StatusBadRequest, http.MethodPatch, p.endpoint(t, "configuration_endpoint"), broken)
	}},
	{"openid-ssf-stream-control-error-update-unknown-stream", "", func(t *testing.T, p *party) {
		p.want(t, http.StatusNotFound, http.MethodPatch, p.endpoint(t, "configuration_endpoint"), object{"stream_id": p.gone(t), "description": "x"})
	}},
	{"openid-ssf-stream-control-error-replace-stream-with-invalid-body", "", func(t *testing.T, p *party) {
		p.want(t, http.StatusBadRequest, http.MethodPut, p.endpoint(t, "configuration_endpoint"), broken)
	}},
	{"openid-ssf-stream-control-error-replace-stream-with-invalid-token", "", func(t *testing.T, p *party) {
		_, id := p.create(t, "")
		p.refused(t, http.MethodPut, p.endpoint(t, "configuration_endpoint"), object{"stream_id": id, "delivery": p.delivery("/x", "")})
	}},
	{"openid-ssf-stream-control-error-replace-unknown-stream", "", func(t *testing.T, p *party) {
		p.want(t, http.StatusNotFound, http.MethodPut, p.endpoint(t, "configuration_endpoint"), object{"stream_id": p.gone(t), "delivery": p.delivery("/x", "")})
	}},
	{"openid-ssf-stream-control-error-delete-stream-with-invalid-token", "", func(t *testing.T, p *party) {
		p.refused(t, http.MethodDelete, p.about(t, p.gone(t)), nil)
	}},
	{"openid-ssf-stream-control-error-delete-unknown-stream", "", func(t *testing.T, p *party) {
		p.want(t, http.StatusNotFound, http.MethodDelete, p.about(t, p.gone(t)), nil)
	}},
	{"openid-ssf-stream-subject-control", "", func(t *testing.T, p *party) {
		_, id := p.create(t, "")
		subject := object{"format": "email", "email": "somebody@example.com"}
		p.want(t, http.StatusOK, http.MethodPost, p.endpoint(t, "add_subject_endpoint"), object{"stream_id": id, "subject": subject, "verified": true})
		p.want(t, http.StatusNoContent, http.MethodPost, p.endpoint(t, "remove_subject_endpoint"), object{"stream_id": id, "subject": subject})
	}},
	{"openid-ssf-transmitter-stream-verification-push", push, func(t *testing.T, p *party) {
		stream, id := p.create(t, "Bearer the-suite's-own")
		p.verify(t, id, "a state")
		p.checkVerification(t, p.next(t, stream, 10*time.Second, isVerification), stream, "a state")
	}},
	{"openid-ssf-transmitter-stream-verification-poll-only", poll, func(t *testing.T, p *party) {
		stream, id := p.create(t, "")
		p.verify(t, id, "a state")
		p.checkVerification(t, p.soon(t, stream, nil), stream, "a state")
	}},
	{"openid-ssf-transmitter-stream-verification-poll-and-ack", poll, func(t *testing.T, p *party) {
		stream, id := p.create(t, "")
		p.verify(t, id, "first")
		first := p.soon(t, stream, nil)
		p.checkVerification(t, first, stream, "first")
		p.verifyAgain(t, id, "second")
		second := p.soon(t, stream, []string{first.jti})
		p.checkVerification(t, second, stream, "second")
		p.polled(t, stream, object{"maxEvents": 0, "returnImmediately": true, "ack": []string{second.jti}})
		if left := p.polled(t, stream, object{"maxEvents": 10, "returnImmediately": true}); len(left) != 0 {
			t.Errorf("%d SETs are left", len(left))
		}
	}},
	{"openid-ssf-transmitter-stream-verification-ack-only", poll, func(t *testing.T, p *party) {
		stream, id := p.create(t, "")
		p.verify(t, id, "a state")
		got := p.soon(t, stream, nil)
		if left := p.polled(t, stream, object{"maxEvents": 0, "ack": []string{got.jti}}); len(left) != 0 {
			t.Errorf("%d SETs for maxEvents 0", len(left))
		}
	}},
	{"openid-ssf-transmitter-stream-verification-error-push-no-auth", push, func(t *testing.T, p *party) {
		stream, id := p.create(t, "") // the inbox refuses any Authorization then
		p.verify(t, id, "a state")
		p.checkVerification(t, p.next(t, stream, 10*time.Second, isVerification), stream, "a state")
	}},
	{"openid-ssf-transmitter-stream-caep-interop", "", func(t *testing.T, p *party) {
		stream, id := p.create(t, "")
		p.checkStream(t, p.want(t, http.StatusOK, http.MethodGet, p.about(t, id), nil))
		p.want(t, http.StatusOK, http.MethodGet, p.endpoint(t, "status_endpoint")+"?stream_id="+url.QueryEscape(id), nil)
		p.verify(t, id, "a state")
		p.checkVerification(t, p.next(t, stream, 10*time.Second, isVerification), stream, "a state")
		delivered := list(stream["events_delivered"])
		if len(delivered) != len(interopEvents) {
			t.Errorf("delivered are %v", delivered)
		}
		for _, kind := range delivered {
			p.emit(t, id, kind)
			checkCAEP(t, p.next(t, stream, 60*time.Second, func(s secevent) bool { return s.eventType == kind }))
		}
		p.want(t, http.StatusNoContent, http.MethodDelete, p.about(t, id), nil)
	}},
}

// TestConformance runs every module with push and with poll against the real binary over TLS.
func TestConformance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, method := range map[string]string{"push": push, "poll": poll} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, m := range modules {
				if m.only != "" && m.only != method {
					continue
				}
				t.Run(m.name, func(t *testing.T) {
					t.Parallel()
					m.run(t, w.party(t, method))
				})
			}
		})
	}
}

// refused demands 401 for a token that is not even one by its syntax.
func (p *party) refused(t *testing.T, method, address string, body any) {
	t.Helper()
	status, header, answer := p.callAs(t, invalidToken(), method, address, body)
	if status != http.StatusUnauthorized || header.Get("WWW-Authenticate") == "" {
		t.Errorf("got %d %s, WWW-Authenticate %q", status, answer, header.Get("WWW-Authenticate"))
	}
}

// gone is the id of a stream that was deleted.
func (p *party) gone(t *testing.T) string {
	t.Helper()
	_, id := p.create(t, "")
	p.want(t, http.StatusNoContent, http.MethodDelete, p.about(t, id), nil)
	return id
}

// soon is the one SET of a poll that does not wait, some seconds after it was asked for at the latest.
func (p *party) soon(t *testing.T, stream object, ack []string) secevent {
	t.Helper()
	var got []secevent
	eventually(t, 5*time.Second, func() bool {
		got = p.polled(t, stream, object{"maxEvents": 10, "returnImmediately": true, "ack": ack})
		return len(got) > 0
	})
	if len(got) != 1 {
		t.Fatalf("%d SETs", len(got))
	}
	return got[0]
}
