package courier

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/ssf"
)

func testSecrets(t testing.TB, file string) *Secrets {
	t.Helper()
	s, err := LoadSecrets(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConfigurationsReadBack(t *testing.T) {
	t.Parallel()
	cfg := testConfig(&world{t: t})
	secrets := testSecrets(t, cfg.SecretsKeyFile)
	s := ssf.Stream{
		ID: "abc", Tenant: "acme", Receiver: "app", Audience: []string{"a"}, Status: ssf.Enabled,
		Delivery: ssf.Delivery{Method: ssf.MethodPush, URL: "https://r.example.com", Authorization: "Bearer secret"},
	}
	b, err := encodeConfig(s, nil, secrets)
	if err != nil || strings.Contains(string(b), "Bearer secret") {
		t.Fatalf("%s, %v", b, err)
	}
	back, _, err := decodeConfig("abc", b, secrets)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&s, back); d != "" {
		t.Errorf("(-want, +got):\n%s", d)
	}
	// Without the key the stream is there, but not its secret, which is not lost either.
	blind, sealed, err := decodeConfig("abc", b, nil)
	if !errors.Is(err, errSecret) || blind == nil || blind.Delivery.Authorization != "" {
		t.Fatalf("without the key: %+v, %v", blind, err)
	}
	again, err := encodeConfig(*blind, sealed, nil)
	if err != nil {
		t.Fatal(err)
	}
	if back, _, err = decodeConfig("abc", again, secrets); err != nil || back.Delivery.Authorization != "Bearer secret" {
		t.Errorf("%+v, %v", back, err)
	}
	// A secret opens for its own stream only.
	other := s
	other.ID = "other"
	if _, err := encodeConfig(other, sealed, nil); err == nil {
		t.Error("a secret was kept without a key")
	}
	other.Delivery.Authorization = ""
	moved, err := encodeConfig(other, sealed, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := decodeConfig("other", moved, secrets); !errors.Is(err, errSecret) {
		t.Errorf("another's secret: %v", err)
	}
}

// Positions read back as they were written.
func TestPositionsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := &progress{FailingSince: rapid.Int64Range(0, 1<<50).Draw(t, "since"), Failures: rapid.IntRange(0, 1000).Draw(t, "failures")}
		for range 3 {
			next := rapid.Int64Range(0, 1000).Draw(t, "next")
			at := position{Next: next}
			for o := range next {
				if rapid.IntRange(0, 9).Draw(t, "pends") == 0 {
					at.Pending = append(at.Pending, o)
				}
			}
			p.Partitions = append(p.Partitions, at)
		}
		if rapid.Bool().Draw(t, "control") {
			state := rapid.String().Draw(t, "state")
			p.Control = []control{{JTI: "j", Kind: verification, State: &state, At: 7}}
		}
		back, err := decodeProgress(encodeProgress(p), 3)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, back); d != "" {
			t.Errorf("(-want, +got):\n%s", d)
		}
	})
}

func FuzzDecodeRecords(f *testing.F) {
	f.Add([]byte(`{"v":1,"stream":{"stream_id":"a","status":"enabled","delivery":{"method":"urn:ietf:rfc:8936"}}}`))
	f.Add([]byte(`{"v":1,"partitions":[{"next":3,"pending":[1,2]}],"control":[{"jti":"x","kind":"verification"}]}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, _, err := decodeConfig("a", b, nil); err == nil && (s == nil || s.ID != "a") {
			t.Errorf("accepted %+v", s)
		}
		if p, err := decodeProgress(b, 1); err == nil {
			if _, err := decodeProgress(encodeProgress(p), 1); err != nil {
				t.Errorf("does not read back: %v", err)
			}
		}
		_, _ = decodeClaim(b)
	})
}

func TestBackoffStaysInItsBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		failures := rapid.IntRange(0, 1<<30).Draw(t, "failures")
		least, most := time.Duration(rapid.Int64Range(1, 1<<40).Draw(t, "least")), 24*time.Hour
		d := backoff(failures, least, most)
		if least = min(least, most); d < least*3/4 || d > most*5/4+1 {
			t.Errorf("%v", d)
		}
	})
}

func TestWrongConfigurationsAreNamed(t *testing.T) {
	t.Parallel()
	cfg := Config{Listen: "nowhere", Advertise: "http://example.com", OperatorTokens: []OperatorToken{{}}}
	text := cfg.Validate().Error()
	for _, path := range []string{
		"listen", "tls_cert_file", "advertise", "operator_tokens[0].name", "operator_tokens[0].file", "group", "window", "per_stream",
		"max_in_flight", "max_streams", "cache_bytes", "session_timeout", "flush_every", "retry_min", "dead_after", "outbound.timeout",
	} {
		if !strings.Contains("\n"+text, "\n"+path+": ") {
			t.Errorf("nothing about %s in\n%s", path, text)
		}
	}
	plain := DefaultConfig()
	plain.InsecurePlain = true
	if err := plain.Validate(); err != nil {
		t.Error(err)
	}
	if plain.Listen = "0.0.0.0:80"; plain.Validate() == nil {
		t.Error("plain text for everybody")
	}
	for listen, want := range map[string]bool{"0.0.0.0:443": false, "[::]:443": false, ":443": false, "10.1.2.3:443": true, "courier.example.com:443": true} {
		every := DefaultConfig()
		every.Listen, every.TLSCertFile, every.TLSKeyFile = listen, "cert", "key"
		if err := every.Validate(); (err == nil) != want {
			t.Errorf("%s without advertise: %v", listen, err)
		}
		if every.Advertise = "https://courier-1.example.com:443"; every.Validate() != nil {
			t.Errorf("%s with advertise: %v", listen, every.Validate())
		}
	}
}

// The largest position that can come about is read back.
func TestTheLargestPositionReadsBack(t *testing.T) {
	t.Parallel()
	const partitions = 12
	p := &progress{LastError: strings.Repeat("\x01", maxReasonBytes), Partitions: make([]position, partitions)}
	for i := range blockedWindows*maxWindow + partitions {
		at := &p.Partitions[i%partitions]
		at.Pending, at.Next = append(at.Pending, 1<<62+int64(i)), 1<<63-1
	}
	state := strings.Repeat("\x01", ssf.MaxState)
	for size := 0; ; {
		c := control{JTI: newID(), Kind: verification, State: &state, At: 1}
		if size += c.size(); size > maxControlBytes {
			break
		}
		p.Control = append(p.Control, c)
	}
	b := encodeProgress(p)
	if _, err := decodeProgress(b, partitions); err != nil || len(p.Control) < 10 {
		t.Errorf("%d bytes with %d control events: %v", len(b), len(p.Control), err)
	}
}

// However long the texts that a receiver wants to be told again, its stream stands after a restart.
func TestLongStatesReadBackAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	quick := func(c *Config) { c.MinVerificationInterval = time.Nanosecond }
	c := w.start(quick)
	s := c.create(ssf.Delivery{Method: ssf.MethodPoll})
	state := strings.Repeat("\x01<", ssf.MaxState/2)
	taken := 0
	for {
		err := c.Verify(t.Context(), app, s.ID, &state)
		if tooMany, ok := errors.AsType[*ssf.TooManyError](err); ok {
			if tooMany.After >= time.Second {
				break // no more are taken
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		taken++
	}
	c.stop()
	c = w.start(quick)
	o, err := c.find(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.problem != nil || len(o.controls.items) != taken || taken < 10 {
		t.Errorf("%d of %d control events, %v", len(o.controls.items), taken, o.problem)
	}
}
