package courier

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// A courier with another key claims no streams whose secrets it cannot open, and is not ready.
func TestACourierWithAnotherKeyClaimsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start(nil)
	if err := a.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	eventually(t, "one holds all", func() bool { return len(a.held()) == 2 })
	r := newReceiver(t, nil)
	a.pushTo(r.URL)
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte(strings.Repeat("x", minSecretsKey)), 0o600); err != nil {
		t.Fatal(err)
	}
	epochs := func() (out [2]uint64) {
		for p := range out {
			out[p], _, _ = a.table.holder(p)
		}
		return out
	}
	for _, group := range []string{"couriers", "others"} {
		before := epochs()
		core, logs := observer.New(zap.ErrorLevel)
		w.idle, w.log = true, zap.New(core)
		b := w.start(func(cfg *Config) { cfg.SecretsKeyFile, cfg.Group = other, group })
		eventually(t, "it says so", func() bool { return logs.FilterMessageSnippet("another key").Len() == 1 })
		if err := b.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "secrets_key_file") {
			t.Errorf("ready: %v", err)
		}
		jti := w.decide("alice")
		eventually(t, "the first delivers", func() bool { j := r.jtis(); return len(j) > 0 && j[len(j)-1] == jti })
		b.stop()
		if d := cmp.Diff(before, epochs()); d != "" || len(b.held()) > 0 {
			t.Errorf("epochs (-before, +after):\n%s", d)
		}
	}
	if err := a.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// Couriers of two groups do not take the streams from each other for ever.
func TestCouriersOfTwoGroupsSaySo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	core, logs := observer.New(zap.ErrorLevel)
	w.log, w.idle = zap.New(core), true
	w.start(nil)
	w.start(func(cfg *Config) { cfg.Group = "others" })
	eventually(t, "they say so", func() bool { return logs.FilterMessageSnippet("another courier.group").Len() > 0 })
}

// What is claimed away again and again is claimed again after longer and longer pauses, until there was peace.
func TestDisputes(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	var d dispute
	var got []time.Duration
	for range 10 {
		now = now.Add(time.Second)
		wait := d.lose(now)
		now = now.Add(2 * wait)
		got = append(got, wait)
	}
	now = now.Add(time.Hour)
	got = append(got, d.lose(now))
	for range 9 { // seldom
		now = now.Add(40 * time.Second)
		got = append(got, d.lose(now))
	}
	s, m := time.Second, time.Minute
	want := []time.Duration{0, 0, 10 * s, 20 * s, 40 * s, 80 * s, 160 * s, 320 * s, 10 * m, 10 * m, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("pauses (-want, +got):\n%s", d)
	}
}
