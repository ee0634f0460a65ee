package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// The checks of the OpenID conformance suite for Shared Signals transmitters, module by module under its own names, over
// HTTP alone: nothing here knows countersign's code. What the suite reports as a warning fails here.

const (
	push = "urn:ietf:rfc:8935"
	poll = "urn:ietf:rfc:8936"

	verification = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	caep         = "https://schemas.openid.net/secevent/caep/event-type/"
)

// interopEvents are what the suite asks for.
var interopEvents = []string{caep + "session-revoked", caep + "credential-change", caep + "device-compliance-change"}

// party is the suite's receiver: what it knows of the transmitter under test.
type party struct {
	client *http.Client
	// discovery is the metadata's address, issuer what it must name.
	discovery, issuer string
	id, token         string // of the client
	method            string
	inbox             *inbox // of pushes
	// emit makes the transmitter send an event of a type on a stream.
	emit func(t *testing.T, stream, eventType string)
}

type object = map[string]any

// call sends a request with a body, unless that is nil, and the party's token, and returns status, header and body.
func (p *party) call(t *testing.T, method, address string, body any) (int, http.Header, []byte) {
	t.Helper()
	return p.callAs(t, p.token, method, address, body)
}

func (p *party) callAs(t *testing.T, token, method, address string, body any) (int, http.Header, []byte) {
	t.Helper()
	var content io.Reader = http.NoBody
	switch b := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, address, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, answer
}

// want calls and demands a status. It returns the answer as an object, nil when there is none.
func (p *party) want(t *testing.T, status int, method, address string, body any) object {
	t.Helper()
	got, header, answer := p.call(t, method, address, body)
	if got != status {
		t.Fatalf("%s %s: got %d %s, want %d", method, address, got, answer, status)
	}
	if len(answer) == 0 {
		return nil
	}
	wantJSON(t, header)
	var o object
	if err := json.Unmarshal(answer, &o); err != nil {
		t.Fatalf("%s %s: %v in %s", method, address, err, answer)
	}
	return o
}

func wantJSON(t *testing.T, header http.Header) {
	t.Helper()
	if kind, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		t.Errorf("content type is %q", header.Get("Content-Type"))
	}
}

// metadata fetches the transmitter's metadata.
func (p *party) metadata(t *testing.T) object {
	t.Helper()
	status, header, body := p.callAs(t, "", http.MethodGet, p.discovery, nil)
	if status != http.StatusOK {
		t.Fatalf("metadata: %d %s", status, body)
	}
	wantJSON(t, header)
	var m object
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// endpoint is one of the metadata's.
func (p *party) endpoint(t *testing.T, name string) string {
	t.Helper()
	return text(p.metadata(t), name)
}

func text(o object, name string) string {
	s, _ := o[name].(string)
	return s
}

func list(v any) []string {
	var out []string
	switch v := v.(type) {
	case string:
		out = append(out, v)
	case []any:
		for _, e := range v {
			s, _ := e.(string)
			out = append(out, s)
		}
	}
	return out
}

// delivery is what the party asks for, with the authorization of pushes when secret is not empty.
func (p *party) delivery(path, secret string) object {
	if p.method == poll {
		return object{"method": poll}
	}
	d := object{"method": push, "endpoint_url": p.inbox.url + path}
	if secret != "" {
		d["authorization_header"] = secret
	}
	return d
}

// create makes a stream for the interop events and checks it.
func (p *party) create(t *testing.T, secret string) (stream object, id string) {
	t.Helper()
	path := "/" + strings.ToLower(rand.Text())
	stream = p.want(t, http.StatusCreated, http.MethodPost, p.endpoint(t, "configuration_endpoint"),
		object{"delivery": p.delivery(path, secret), "events_requested": interopEvents, "description": t.Name()})
	p.checkStream(t, stream)
	id = text(stream, "stream_id")
	if p.inbox != nil {
		p.inbox.expect(path, secret, id)
	}
	t.Cleanup(func() {
		status, _, body := p.callLate(t, http.MethodDelete, p.about(t, id))
		if status != http.StatusNoContent && status != http.StatusNotFound {
			t.Errorf("cleaning up: %d %s", status, body)
		}
	})
	return stream, id
}

// callLate calls when the test's context is over already.
func (p *party) callLate(t *testing.T, method, address string) (int, http.Header, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, body
}

// about is the configuration endpoint of a stream. It is asked for without the test's context, for the clean-up needs it.
func (p *party) about(t *testing.T, id string) string {
	t.Helper()
	_, _, body := p.callLate(t, http.MethodGet, p.discovery)
	var m object
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	return text(m, "configuration_endpoint") + "?stream_id=" + url.QueryEscape(id)
}

func (p *party) checkStream(t *testing.T, s object) {
	t.Helper()
	for _, name := range []string{"stream_id", "iss", "aud", "events_delivered", "delivery", "events_supported"} {
		if s[name] == nil {
			t.Errorf("the stream has no %s", name)
		}
	}
	if text(s, "iss") != p.issuer {
		t.Errorf("iss is %v, want %s", s["iss"], p.issuer)
	}
	d, _ := s["delivery"].(object)
	if text(d, "method") != p.method || text(d, "endpoint_url") == "" {
		t.Errorf("delivery is %v", d)
	}
	if d["authorization_header"] != nil {
		t.Error("the authorization header can be read")
	}
	supported := list(s["events_supported"])
	if !slices.ContainsFunc(supported, func(e string) bool { return slices.Contains(interopEvents, e) }) {
		t.Errorf("no interop event is supported: %v", supported)
	}
	for _, e := range supported {
		if !strings.HasPrefix(e, "https://schemas.openid.net/secevent/") {
			t.Errorf("%s is not known to the suite", e)
		}
	}
	for _, e := range list(s["events_delivered"]) {
		if !slices.Contains(supported, e) || !slices.Contains(interopEvents, e) {
			t.Errorf("%s is delivered, and not both supported and requested", e)
		}
	}
}

// secevent is a token whose signature and form have been checked.
type secevent struct {
	jti, eventType, kid string
	claims, event       object
}

// read checks a compact SET against the metadata's keys and the stream, by the suite's literal rules.
func (p *party) read(t *testing.T, compact string, stream object) secevent {
	t.Helper()
	header, claims := p.verified(t, compact)
	if header["typ"] != "secevent+jwt" || header["alg"] != "RS256" {
		t.Errorf("header is %v", header)
	}
	for _, never := range []string{"sub", "exp"} {
		if _, there := claims[never]; there {
			t.Errorf("claims have %s", never)
		}
	}
	if text(claims, "iss") != p.issuer || text(claims, "jti") == "" {
		t.Errorf("iss and jti are %v and %v", claims["iss"], claims["jti"])
	}
	if iat, ok := claims["iat"].(float64); !ok || iat > float64(time.Now().Unix()) || iat < float64(time.Now().Add(-time.Hour).Unix()) {
		t.Errorf("iat is %v", claims["iat"])
	}
	for _, aud := range list(claims["aud"]) {
		if !slices.Contains(list(stream["aud"]), aud) {
			t.Errorf("aud is %v, the stream's %v", claims["aud"], stream["aud"])
		}
	}
	if len(list(claims["aud"])) == 0 {
		t.Error("there is no aud")
	}
	events, _ := claims["events"].(object)
	if len(events) != 1 {
		t.Fatalf("events are %v", claims["events"])
	}
	s := secevent{jti: text(claims, "jti"), claims: claims}
	for kind, event := range events {
		s.eventType = kind
		s.event, _ = event.(object)
	}
	if s.event == nil {
		t.Errorf("the event is %v", events)
	}
	return s
}

// verified checks the signature by the published keys, with the standard library alone.
func (p *party) verified(t *testing.T, compact string) (header, claims object) {
	t.Helper()
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		t.Fatalf("%.80q is no compact token", compact)
	}
	decode := func(part string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatalf("%.80q: %v", part, err)
		}
		return b
	}
	for i, into := range []*object{&header, &claims} {
		if err := json.Unmarshal(decode(parts[i]), into); err != nil {
			t.Fatal(err)
		}
	}
	status, _, body := p.callAs(t, "", http.MethodGet, p.endpoint(t, "jwks_uri"), nil)
	if status != http.StatusOK {
		t.Fatalf("jwks: %d", status)
	}
	var jwks struct {
		Keys []struct{ Kty, Kid, N, E, Use, Alg string }
	}
	if err := json.Unmarshal(body, &jwks); err != nil {
		t.Fatal(err)
	}
	for _, k := range jwks.Keys {
		if k.Kid != header["kid"] {
			continue
		}
		key := rsa.PublicKey{N: new(big.Int).SetBytes(decode(k.N)), E: int(new(big.Int).SetBytes(decode(k.E)).Int64())}
		if key.N.BitLen() < 2048 {
			t.Errorf("the key has %d bits", key.N.BitLen())
		}
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if err := rsa.VerifyPKCS1v15(&key, crypto.SHA256, sum[:], decode(parts[2])); err != nil {
			t.Fatalf("signature: %v", err)
		}
		return header, claims
	}
	t.Fatalf("no key %v in %s", header["kid"], body)
	return nil, nil
}

// checkVerification demands a verification SET with this state; nil demands none.
func (p *party) checkVerification(t *testing.T, s secevent, stream object, state any) {
	t.Helper()
	sub, _ := s.claims["sub_id"].(object)
	if s.eventType != verification || text(sub, "format") != "opaque" || sub["id"] != stream["stream_id"] {
		t.Errorf("not a verification of the stream: %v", s.claims)
	}
	got, there := s.event["state"]
	if there != (state != nil) || got != state {
		t.Errorf("state is %v, want %v", got, state)
	}
}

// checkCAEP demands what every CAEP event has to have.
func checkCAEP(t *testing.T, s secevent) {
	t.Helper()
	if stamp, there := s.event["event_timestamp"]; there {
		if _, ok := stamp.(float64); !ok {
			t.Errorf("event_timestamp is %v", stamp)
		}
	}
	if who, there := s.event["initiating_entity"]; there && !slices.Contains([]any{"admin", "user", "policy", "system"}, who) {
		t.Errorf("initiating_entity is %v", who)
	}
	for _, name := range []string{"reason_admin", "reason_user"} {
		reasons, there := s.event[name]
		if !there {
			continue
		}
		o, ok := reasons.(object)
		if !ok || len(o) == 0 {
			t.Errorf("%s is %v", name, reasons)
		}
		for _, r := range o {
			if line, ok := r.(string); !ok || line == "" {
				t.Errorf("%s is %v", name, reasons)
			}
		}
	}
	required := map[string][]string{
		"session-revoked": {"reason_admin"}, "credential-change": {"reason_admin", "credential_type", "change_type"},
		"device-compliance-change": {"previous_status", "current_status"}, "assurance-level-change": {"namespace", "current_level"},
		"risk-level-change": {"principal", "current_level"}, "token-claims-change": {"claims"},
	}
	kind, ok := strings.CutPrefix(s.eventType, caep)
	if !ok {
		t.Errorf("%s is no CAEP event", s.eventType)
	}
	for _, name := range required[kind] {
		if s.event[name] == nil {
			t.Errorf("%s has no %s", kind, name)
		}
	}
	sub, _ := s.claims["sub_id"].(object)
	if text(sub, "format") == "" {
		t.Errorf("sub_id is %v", s.claims["sub_id"])
	}
}

// verify asks for a verification.
func (p *party) verify(t *testing.T, id, state string) {
	t.Helper()
	body := object{"stream_id": id}
	if state != "" {
		body["state"] = state
	}
	p.want(t, http.StatusNoContent, http.MethodPost, p.endpoint(t, "verification_endpoint"), body)
}

// polled polls once and reads what it gets.
func (p *party) polled(t *testing.T, stream, request object) []secevent {
	t.Helper()
	d, _ := stream["delivery"].(object)
	answer := p.want(t, http.StatusOK, http.MethodPost, text(d, "endpoint_url"), request)
	sets, ok := answer["sets"].(object)
	if !ok {
		t.Fatalf("sets are %v", answer["sets"])
	}
	var out []secevent
	for jti, compact := range sets {
		line, _ := compact.(string)
		s := p.read(t, line, stream)
		if s.jti != jti {
			t.Errorf("the SET under %s has jti %s", jti, s.jti)
		}
		out = append(out, s)
	}
	return out
}

// next waits for the next SET of the stream that pick accepts, by the stream's method; polled ones are acknowledged.
func (p *party) next(t *testing.T, stream object, within time.Duration, pick func(secevent) bool) secevent {
	t.Helper()
	deadline := time.Now().Add(within)
	var ack []string
	for {
		var got []secevent
		if p.method == push {
			compact, ok := p.inbox.next(text(stream, "stream_id"), time.Until(deadline))
			if !ok {
				break
			}
			got = []secevent{p.read(t, compact, stream)}
		} else {
			if time.Now().After(deadline) {
				break
			}
			got = p.polled(t, stream, object{"maxEvents": 10, "returnImmediately": false, "ack": ack})
			ack = nil
		}
		for _, s := range got {
			if p.method == poll {
				ack = append(ack, s.jti)
			}
		}
		for _, s := range got {
			if pick(s) {
				if len(ack) > 0 {
					p.polled(t, stream, object{"maxEvents": 0, "returnImmediately": true, "ack": ack})
				}
				return s
			}
		}
	}
	t.Fatalf("no such SET within %v", within)
	return secevent{}
}

func isVerification(s secevent) bool { return s.eventType == verification }

func invalidToken() string { return fmt.Sprintf("invalid:%s", rand.Text()) }
