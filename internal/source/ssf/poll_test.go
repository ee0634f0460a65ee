package ssf_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/source/ssf"
	"github.com/countersign-io/countersign/internal/source/upstream"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

// ledger is what a source's runner keeps.
type ledger struct {
	values   []string
	position []byte
	takes    int
	err      error
}

func (l *ledger) take(values [][]byte, next []byte) error {
	if l.err != nil {
		return l.err
	}
	l.takes++
	for _, v := range values {
		l.values = append(l.values, string(v))
	}
	if l.position = next; !json.Valid(next) || len(next) > 64<<10 {
		return fmt.Errorf("a position of %d bytes", len(next))
	}
	return nil
}

// jtis are those of the claims among the values.
func (l *ledger) jtis() (all []string) {
	for _, v := range l.values {
		var c struct{ JTI string }
		if json.Unmarshal([]byte(v), &c) == nil {
			all = append(all, c.JTI)
		}
	}
	return all
}

// offers puts numbered right tokens out.
func (p *party) offers(t testing.TB, from, to int) (jtis []string) {
	t.Helper()
	for n := from; n < to; n++ {
		jti := fmt.Sprintf("jti-%03d", n)
		p.offer(offer{jti, es256().sign(t, p.claims(jti, nil), nil)})
		jtis = append(jtis, jti)
	}
	return jtis
}

// Tokens come in the order in which they stand, page by page, and are acknowledged with the poll after they were taken.
func TestPoll(t *testing.T) {
	t.Parallel()
	p := newParty(t, es256())
	tr := p.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.Poll.MaxEvents = 4 })
	want := p.offers(t, 0, 10)
	var l ledger
	wait, err := tr.Fetch(t.Context(), nil, l.take)
	if err != nil || wait <= 4*time.Second || wait > 5*time.Second {
		t.Errorf("%v, %v", wait, err)
	}
	if diff := cmp.Diff(want, l.jtis()); diff != "" {
		t.Error(diff)
	}
	if acked, reported := p.state(); !slices.Equal(acked, want) || len(reported) != 0 {
		t.Errorf("acknowledged %q, reported %v", acked, reported)
	}
	if string(l.position) != "{}" {
		t.Errorf("position %s", l.position)
	}
	if diff := cmp.Diff(object{"maxEvents": 4.0, "returnImmediately": true}, p.polls[0]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(object{"maxEvents": 4.0, "returnImmediately": true, "ack": []any{"jti-000", "jti-001", "jti-002", "jti-003"}}, p.polls[1]); diff != "" {
		t.Error(diff)
	}
	// Nothing new: nothing is taken, nothing acknowledged.
	if _, err := tr.Fetch(t.Context(), l.position, l.take); err != nil || l.takes != 4 {
		t.Errorf("%v, taken %d times", err, l.takes)
	}
	if diff := cmp.Diff(object{"maxEvents": 4.0, "returnImmediately": true}, p.polls[len(p.polls)-1]); diff != "" {
		t.Error(diff)
	}
}

// What take refuses is not acknowledged, and comes again.
func TestPollAcknowledgesOnlyWhatIsTaken(t *testing.T) {
	t.Parallel()
	p := newParty(t, es256())
	tr := p.transmitter(t, ssf.Deps{}, nil)
	want := p.offers(t, 0, 3)
	l := ledger{err: errors.New("the log is away")}
	if _, err := tr.Fetch(t.Context(), nil, l.take); !errors.Is(err, l.err) {
		t.Errorf("%v", err)
	}
	if acked, _ := p.state(); len(acked) != 0 {
		t.Errorf("acknowledged %q", acked)
	}
	l.err = nil
	if _, err := tr.Fetch(t.Context(), nil, l.take); err != nil {
		t.Error(err)
	}
	if acked, _ := p.state(); !slices.Equal(acked, want) || !slices.Equal(l.jtis(), want) {
		t.Errorf("acknowledged %q, took %q", acked, l.jtis())
	}
}

// The acknowledgements survive a restart in the position, and an answer that got lost.
func TestPollGoesOnFromItsPosition(t *testing.T) {
	t.Parallel()
	p := newParty(t, es256())
	want := p.offers(t, 0, 2)
	l := ledger{}
	died := errors.New("died after the first page")
	_, err := p.transmitter(t, ssf.Deps{}, nil).Fetch(t.Context(), nil, func(values [][]byte, next []byte) error {
		if err := l.take(values, next); err != nil {
			return err
		}
		return died
	})
	if !errors.Is(err, died) {
		t.Fatal(err)
	}
	again := p.transmitter(t, ssf.Deps{}, nil)
	p.Script(upstreamtest.Truncated)
	if _, err := again.Fetch(t.Context(), l.position, l.take); err == nil {
		t.Error("a truncated answer was taken")
	}
	if acked, _ := p.state(); !slices.Equal(acked, want) {
		t.Errorf("acknowledged %q", acked)
	}
	if _, err := again.Fetch(t.Context(), l.position, l.take); err != nil || !slices.Equal(l.jtis(), want) || string(l.position) != "{}" {
		t.Errorf("%v, took %q, position %s", err, l.jtis(), l.position)
	}
	if _, err := again.Fetch(t.Context(), []byte(`"no position"`), l.take); err == nil || !strings.Contains(err.Error(), "reading the position") {
		t.Errorf("a broken position: %v", err)
	}
}

// A token that is refused is reported with setErrs, once and for all, and kept with the reason. The others are not held up.
func TestPollReportsWhatItRefuses(t *testing.T) {
	t.Parallel()
	p := newParty(t, es256())
	tr := p.transmitter(t, ssf.Deps{}, nil)
	good := es256().sign(t, p.claims("good", nil), nil)
	p.offer(
		offer{"aud", es256().sign(t, p.claims("aud", func(c object) { c["aud"] = "https://elsewhere.example" }), nil)},
		offer{"good", good},
		offer{"renamed", es256().sign(t, p.claims("by another name", nil), nil)},
		offer{"signature", good[:len(good)-4] + "AAAA"},
		offer{"rubbish", strings.Repeat("é\n", 10)},
		offer{"huge", strings.Repeat("x", ssf.MaxSET+1)},
	)
	var l ledger
	if _, err := tr.Fetch(t.Context(), nil, l.take); err != nil {
		t.Fatal(err)
	}
	acked, reported := p.state()
	codes := map[string]ssf.Code{}
	for jti, r := range reported {
		codes[jti] = r.Code
	}
	want := map[string]ssf.Code{
		"aud": ssf.InvalidAudience, "renamed": ssf.InvalidRequest, "signature": ssf.AuthenticationFailed, "rubbish": ssf.InvalidRequest, "huge": ssf.InvalidRequest,
	}
	if diff := cmp.Diff(want, codes); diff != "" || !slices.Equal(acked, []string{"good"}) {
		t.Errorf("acknowledged %q, reported %v", acked, reported)
	}
	letters := map[string]string{}
	for _, v := range l.values {
		if len(v) > tr.Decoder().MaxValue() {
			t.Errorf("a value of %d bytes", len(v))
		}
		for _, r := range decode(tr.Decoder(), v) {
			if r.err != nil {
				letters[r.record] = r.err.Error()
			}
		}
	}
	if len(letters) != 5 || len(l.values) != 6 {
		t.Fatalf("%d values, %d dead letters", len(l.values), len(letters))
	}
	if reason := letters[strings.Repeat("é\n", 10)]; !strings.HasPrefix(reason, "invalid_request: is no signed token") {
		t.Errorf("the rubbish became %q: %v", reason, slices.Sorted(maps.Keys(letters)))
	}
}

// Without keys nothing can be said of a token: it is neither acknowledged nor reported, and the error says when to try
// again. What can be verified is taken meanwhile.
func TestPollPostponesWhatItCannotVerify(t *testing.T) {
	t.Parallel()
	p := newParty(t, es256())
	clock := &clock{}
	tr := p.transmitter(t, ssf.Deps{Now: clock.now}, nil)
	p.offer(offer{"new key", rs256().sign(t, p.claims("new key", nil), nil)}, offer{"known key", es256().sign(t, p.claims("known key", nil), nil)})
	var l ledger
	_, err := tr.Fetch(t.Context(), nil, l.take)
	if err != nil { // at first, who has just asked for keys knows that there is no such key
		t.Fatal(err)
	}
	if _, reported := p.state(); reported["new key"].Code != ssf.InvalidKey {
		t.Fatalf("reported %v", reported)
	}
	p.offer(offer{"newer key", other().sign(t, p.claims("newer key", nil), nil)}, offer{"known", es256().sign(t, p.claims("known", nil), nil)})
	_, err = tr.Fetch(t.Context(), l.position, l.take)
	var later interface{ RetryAfter() time.Duration }
	if !errors.As(err, &later) || later.RetryAfter() < 50*time.Second || later.RetryAfter() > time.Minute {
		t.Errorf("%v", err)
	}
	p.publish(es256(), other())
	clock.advance(time.Minute)
	if _, err = tr.Fetch(t.Context(), l.position, l.take); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"known key", "known", "newer key"}, l.jtis()); diff != "" {
		t.Error(diff)
	}
	if acked, _ := p.state(); len(acked) != 3 {
		t.Errorf("acknowledged %q", acked)
	}
}

// A transmitter that sends again what it knows to have arrived is not asked in a tight loop.
func TestPollOfADeafTransmitter(t *testing.T) {
	t.Parallel()
	deaf := newParty(t, es256())
	token := es256().sign(t, deaf.claims("j", nil), nil)
	asked := 0
	s := upstreamtest.New(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		write(w, object{"sets": object{"j": token}, "moreAvailable": true})
	}))
	tr := deaf.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.Poll.URL = s.URL })
	var l ledger
	wait, err := tr.Fetch(t.Context(), nil, l.take)
	if err != nil || asked != 2 || wait < 4*time.Second {
		t.Errorf("%v, %v, asked %d times", wait, err, asked)
	}
}

// A long poll waits at the transmitter, and brings what comes as soon as it comes.
func TestLongPoll(t *testing.T) {
	t.Parallel()
	p := newParty(t, es256())
	tr := p.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.Poll.Wait = 5 * time.Minute })
	taken := make(chan string)
	var l ledger
	done := make(chan error)
	stop := errors.New("enough")
	go func() {
		_, err := tr.Fetch(t.Context(), nil, func(values [][]byte, next []byte) error {
			if err := l.take(values, next); err != nil {
				return err
			}
			if jtis := l.jtis(); jtis[len(jtis)-1] == "jti-001" {
				return stop
			}
			taken <- "one"
			return nil
		})
		done <- err
	}()
	<-p.held
	p.offers(t, 0, 1)
	<-taken
	<-p.held
	if acked, _ := p.state(); !slices.Equal(acked, []string{"jti-000"}) {
		t.Errorf("acknowledged %q while it waits", acked)
	}
	p.offers(t, 1, 2)
	if err := <-done; !errors.Is(err, stop) {
		t.Error(err)
	}
	if p.polls[0]["returnImmediately"] != false {
		t.Errorf("polled %v", p.polls[0])
	}
}

// A refused token is replaced once: from the file, where somebody put a new one, or from the token endpoint.
func TestPollTokens(t *testing.T) {
	t.Parallel()
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, es256())
		path := file(t, "an-old-token-that-has-expired")
		tr := p.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.Poll.TokenFile = path })
		var l ledger
		_, err := tr.Fetch(t.Context(), nil, l.take)
		if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Status != http.StatusUnauthorized || strings.Contains(err.Error(), "an-old-token") || p.asked("/poll") != 2 {
			t.Errorf("%v after %q", err, p.Requests())
		}
		replace(t, path, pollToken(t))
		if _, err := tr.Fetch(t.Context(), nil, l.take); err != nil {
			t.Error(err)
		}
	})
	t.Run("client credentials", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, es256())
		secret := file(t, pushToken)
		granted := func(c *ssf.Config) {
			c.Poll.TokenFile = ""
			c.Poll.ClientCredentials = ssf.ClientCredentials{TokenURL: p.URL + "/token", ClientID: "countersign", ClientSecretFile: secret, Scopes: []string{"ssf.read"}}
		}
		tr := p.transmitter(t, ssf.Deps{}, granted)
		want := p.offers(t, 0, 1)
		var l ledger
		for range 3 {
			if _, err := tr.Fetch(t.Context(), l.position, l.take); err != nil {
				t.Fatal(err)
			}
		}
		if n := p.asked("/token"); n != 1 {
			t.Errorf("%d tokens for one hour", n)
		}
		p.mu.Lock()
		p.tokens = append(p.tokens, "another") // the one that was given is no longer good
		p.mu.Unlock()
		if _, err := tr.Fetch(t.Context(), l.position, l.take); err != nil {
			t.Error(err)
		}
		if n := p.asked("/token"); n != 2 || !slices.Equal(l.jtis(), want) {
			t.Errorf("%d tokens, took %q", n, l.jtis())
		}
		replace(t, secret, "a-secret-that-is-wrong-altogether")
		wrong := p.transmitter(t, ssf.Deps{}, granted)
		_, err := wrong.Fetch(t.Context(), nil, l.take)
		if err == nil || !strings.Contains(err.Error(), `the token endpoint answered 401 "invalid_client"`) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
		p.Script(upstreamtest.HungUp)
		if _, err = wrong.Fetch(t.Context(), nil, l.take); err == nil || strings.Contains(err.Error(), "/token") {
			t.Errorf("%v", err)
		}
	})
}

// A transmitter that does not understand setErrs gets acknowledgements for what is kept here anyhow, and one that refuses
// those is polled without.
func TestPollOfASimpleTransmitter(t *testing.T) {
	t.Parallel()
	p := newParty(t, es256())
	p.strict = "setErrs"
	tr := p.transmitter(t, ssf.Deps{}, nil)
	p.offer(offer{"bad", "rubbish"})
	p.offers(t, 0, 1)
	var l ledger
	if _, err := tr.Fetch(t.Context(), nil, l.take); err != nil {
		t.Fatal(err)
	}
	if acked, reported := p.state(); !slices.Equal(acked, []string{"bad", "jti-000"}) || len(reported) != 0 {
		t.Errorf("acknowledged %q, reported %v", acked, reported)
	}
	p.strict = "ack"
	p.offers(t, 1, 2)
	l.values = nil
	before := p.asked("/poll")
	if wait, err := tr.Fetch(t.Context(), l.position, l.take); err != nil || !slices.Contains(l.jtis(), "jti-001") || wait < 4*time.Second || p.asked("/poll") != before+3 {
		t.Errorf("%v, %v, took %q with %d polls", wait, err, l.jtis(), p.asked("/poll")-before)
	}
	p.strict = "maxEvents"
	if _, err := tr.Fetch(t.Context(), nil, l.take); err == nil {
		t.Error("an endpoint that refuses every poll is no error")
	}
}

func TestPollAnswers(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"sets":{}}`:                         "",
		`{"sets":null,"moreAvailable":false}`: "",
		`{"moreAvailable":false}`:             "",
		`{}`:                                  "",
		`{"sets":{},"more":{"x":[1,{}]}}`:     "",
		``:                                    "no complete JSON",
		`{"sets":{"a":"ey`:                    "no complete JSON",
		`{"sets":{}}{"sets":{}}`:              "no complete JSON",
		`[]`:                                  "holds no sets",
		`null`:                                "holds no sets",
		`{"error":"no stream"}`:               "holds no sets",
		`{"sets":[],"x":1}`:                   "holds no sets",
		`<html>sign in</html>`:                "no complete JSON",
		`{"sets":{"` + strings.Repeat("j", 2000) + `":"x"}}`: "cannot be acknowledged",
	} {
		p := newParty(t, es256())
		s := upstreamtest.New(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		tr := p.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.Poll.URL = s.URL })
		var l ledger
		_, err := tr.Fetch(t.Context(), nil, l.take)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || l.takes != 0 {
			t.Errorf("%.80s: %v, want %q", body, err, want)
		}
	}
	// A token that is no text is refused as it is.
	p := newParty(t, es256())
	once := true
	s := upstreamtest.New(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		body := `{"sets":{}}`
		if once {
			body = `{"sets":{"a":{"b":[1]},"c":5,"\u0064":null}}`
		}
		once = false
		_, _ = w.Write([]byte(body))
	}))
	tr := p.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.Poll.URL = s.URL })
	var l ledger
	if _, err := tr.Fetch(t.Context(), nil, l.take); err != nil {
		t.Fatal(err)
	}
	var records []string
	for _, v := range l.values {
		records = append(records, decode(tr.Decoder(), v)[0].record)
	}
	if diff := cmp.Diff([]string{`{"b":[1]}`, "5", "null"}, records); diff != "" {
		t.Error(diff)
	}
}

// Faults are errors that say when to come back, and nothing is acknowledged by them.
func TestPollFaults(t *testing.T) {
	t.Parallel()
	p := newParty(t, es256())
	tr := p.transmitter(t, ssf.Deps{}, nil)
	want := p.offers(t, 0, 2)
	var l ledger
	for _, fault := range []upstreamtest.Fault{
		upstreamtest.Throttled, upstreamtest.ThrottledSilently, upstreamtest.Broken, upstreamtest.Unavailable, upstreamtest.Truncated,
		upstreamtest.Short, upstreamtest.HungUp, upstreamtest.Gone,
	} {
		p.Script(fault)
		if _, err := tr.Fetch(t.Context(), nil, l.take); err == nil {
			t.Errorf("%s is no error", fault)
		}
	}
	p.Script(upstreamtest.Expired) // is worth a second try
	if _, err := tr.Fetch(t.Context(), nil, l.take); err != nil {
		t.Error(err)
	}
	if acked, _ := p.state(); !slices.Equal(acked, want) || !slices.Equal(l.jtis(), want) || p.Left() != 0 {
		t.Errorf("acknowledged %q, took %q, %d faults left", acked, l.jtis(), p.Left())
	}
}

// However many receipts there are, the position stays small: what does not fit comes again.
func TestPollPositionIsBounded(t *testing.T) {
	t.Parallel()
	p := newParty(t, es256())
	tr := p.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.Poll.MaxEvents = 500 })
	for n := range 300 {
		p.offer(offer{fmt.Sprintf("%03d%s", n, strings.Repeat("<", 300)), "rubbish"}) // JSON writes < in six bytes
	}
	var l ledger
	if _, err := tr.Fetch(t.Context(), nil, l.take); err != nil {
		t.Fatal(err)
	}
	if _, reported := p.state(); len(reported) != 300 || len(l.values) != 300 {
		t.Errorf("reported %d, took %d", len(reported), len(l.values))
	}
}

func TestFetchOfATransmitterThatPushes(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	tr := p.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.Poll = ssf.PollConfig{} })
	if _, err := tr.Fetch(t.Context(), nil, (&ledger{}).take); err == nil || !strings.Contains(err.Error(), "poll.url is not set") {
		t.Errorf("%v", err)
	}
}
