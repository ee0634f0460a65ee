package stepupssf_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/stepup"
	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

func open(t testing.TB, path string, bytes int64) *stepupssf.FileStore {
	t.Helper()
	s, err := stepupssf.OpenStore(path, bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func loaded(t testing.TB, s stepupssf.Store) (all []stepupssf.Record) {
	t.Helper()
	if err := s.Load(func(r stepupssf.Record) error { all = append(all, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// requirement is a record that opens one, for an hour.
func requirement(n int) stepupssf.Record {
	now := time.Now().UTC().Round(0)
	return stepupssf.Record{
		Issuer: "https://tr.example", JTI: fmt.Sprint("j", n), Until: now.Add(time.Hour), Forget: now.Add(2 * time.Hour),
		Claims: &stepup.Claims{Issuer: "https://tr.example", JTI: fmt.Sprint("j", n), Status: stepup.StatusOpen, Requirement: stepup.Requirement{
			ID: fmt.Sprint("r", n), Subject: stepup.Subject{Tenant: "acme", User: fmt.Sprint("u", n)}, Action: stepup.ActionStepUp,
			ACRValues: []string{"phr"}, NotBefore: now, Expires: now.Add(time.Hour),
		}},
	}
}

func event(n int) stepupssf.Record {
	now := time.Now().UTC().Round(0)
	return stepupssf.Record{Issuer: "https://tr.example", JTI: fmt.Sprint("e", n), Forget: now.Add(2 * time.Hour), Event: &stepupssf.Event{
		Issuer: "https://tr.example", JTI: fmt.Sprint("e", n), Type: "urn:x", Members: []byte(`{"a":"<&>"}`),
		Identifier: stepupssf.SubjectIdentifier{Format: "opaque", ID: "u", Raw: []byte(`{"format":"opaque","id":"u","x":1}`)},
	}}
}

func TestAStoreKeepsWhatItAccepted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, path, 0)
	want := []stepupssf.Record{requirement(1), event(2), requirement(3)}
	if err := errors.Join(s.Accept(want[0]), s.Accept(want[1], want[2]), s.Done(want[0].Issuer, "j1"), s.Accept(want[0])); err != nil {
		t.Fatal(err)
	}
	want[0].Done = true
	if diff := cmp.Diff(loaded(t, s), want); diff != "" {
		t.Errorf("(-got, +want):\n%s", diff)
	}
	if _, err := stepupssf.OpenStore(path, 0); err == nil {
		t.Error("two receivers have one store")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Accept(want[0]); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if diff := cmp.Diff(loaded(t, open(t, path, 0)), want); diff != "" {
		t.Errorf("opened again (-got, +want):\n%s", diff)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestACrashCostsOnlyWhatWasNotAccepted cuts the file, as a crash may, at all kinds of bytes: what was accepted before that is there,
// and the store goes on.
func TestACrashCostsOnlyWhatWasNotAccepted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, path, 0)
	var sizes []int64
	for n := range 4 {
		if err := s.Accept(requirement(n), event(n)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, info.Size())
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut")
	for n := range whole {
		if near := slices.ContainsFunc(sizes, func(size int64) bool { return max(size-int64(n), int64(n)-size) < 4 }); !near && n > 20 && n%37 != 0 {
			continue // a byte in the middle of a line is like another
		}
		want := 0
		for _, size := range sizes {
			if int64(n) >= size {
				want += 2
			}
		}
		torn := append(bytes.Clone(whole[:n]), "\x00\x00 garbage"[:n%4]...) // blocks that were not written
		if len(torn) > n && n >= int(sizes[0]) && n%3 == 0 {
			torn = append(torn, '\n')
		}
		if n < 18 {
			torn = whole[:n] // the head, which is written when nothing was accepted
		}
		if err := os.WriteFile(cut, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := stepupssf.OpenStore(cut, 0)
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if got := loaded(t, s); len(got) != want {
			t.Fatalf("cut at %d: %d records, want %d", n, len(got), want)
		}
		if err := errors.Join(s.Accept(requirement(9)), s.Close()); err != nil {
			t.Fatal(err)
		}
		s, err = stepupssf.OpenStore(cut, 0)
		if err != nil {
			t.Fatalf("cut at %d, opened again: %v", n, err)
		}
		if got := loaded(t, s); len(got) != want+1 {
			t.Fatalf("cut at %d, and then one more: %d records", n, len(got))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamageIsAnErrorThatSaysWhere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, path, 0)
	for n := range 3 {
		if err := s.Accept(requirement(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"line 3": strings.Replace(string(good), `"u1"`, `"u7"`, 1), "does not begin": "countersign-ssf 2\n" + string(good[18:]), "line 2": string(good[:18]) + "hello\n" + string(good[18:]),
	} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := stepupssf.OpenStore(path, 0); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want one with %q", err, name)
		}
		if now, _ := os.ReadFile(path); string(now) != bad {
			t.Error("a damaged file was changed")
		}
	}
}

// TestAFullStoreTakesNothingUntilThereIsRoom: what is needed stays, and makes room when it has expired.
func TestAFullStoreTakesNothingUntilThereIsRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path, 20_000)
		n := 0
		var err error
		for ; err == nil; n++ {
			err = s.Accept(requirement(n))
		}
		kept := n - 1
		if !errors.Is(err, stepupssf.ErrStoreFull) || kept < 20 {
			t.Fatalf("after %d: %v", kept, err)
		}
		time.Sleep(time.Minute)
		if err := s.Accept(requirement(n)); !errors.Is(err, stepupssf.ErrStoreFull) {
			t.Errorf("after a minute: %v", err)
		}
		if got := len(loaded(t, s)); got != kept {
			t.Errorf("%d are left of %d", got, kept)
		}
		time.Sleep(time.Hour)
		if err := s.Accept(requirement(n)); err != nil {
			t.Errorf("after an hour: %v", err)
		}
		// Their names are known for another hour, so that repeats are.
		all := loaded(t, s)
		if len(all) != kept+1 || all[0].Claims != nil || all[0].JTI != "j0" {
			t.Errorf("%d, %+v", len(all), all[0])
		}
		time.Sleep(time.Hour)
		if all := loaded(t, s); len(all) != 1 {
			t.Errorf("%d are left", len(all))
		}
		if info, err := os.Stat(path); err != nil || info.Size() > 20_000 {
			t.Errorf("%v, %v", info.Size(), err)
		}
	})
}

// TestAStoreIsCompacted: the file is bounded by what is needed, not by what has come, and nothing needed is lost.
func TestAStoreIsCompacted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path, 0)
		largest := int64(0)
		const rounds, each = 60, 100
		for round := range rounds {
			var records []stepupssf.Record
			for n := range each {
				records = append(records, requirement(round*each+n))
			}
			if err := errors.Join(s.Accept(records...), s.Accept(event(round))); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil {
				t.Fatal(err)
			} else {
				largest = max(largest, info.Size())
			}
			time.Sleep(30 * time.Minute)
		}
		if largest > 2<<20 {
			t.Errorf("the file had %d bytes", largest)
		}
		events, claims := 0, 0
		for _, r := range loaded(t, s) {
			if r.Event != nil {
				events++
			}
			if r.Claims != nil {
				claims++
			}
		}
		if events != rounds || claims != each { // what the application was not told of stays; claims end after an hour
			t.Errorf("%d events, %d claims", events, claims)
		}
	})
}

func TestAStoreServesManyAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "store"), 0)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := range 20 {
				if err := s.Accept(requirement(w*100 + n)); err != nil {
					t.Error(err)
				}
				if err := s.Done("https://tr.example", fmt.Sprint("j", w*100+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, r := range loaded(t, s) {
		if !r.Done {
			t.Errorf("%s is not done", r.JTI)
		}
	}
	if n := len(loaded(t, s)); n != 160 {
		t.Errorf("%d records", n)
	}
}

// TestARestartBetweenAcceptAndEffect: what was kept, and had no effect because the application was killed then, has it
// after the next start, once.
func TestARestartBetweenAcceptAndEffect(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store")
	p := newTransmitter(t)
	store := open(t, path, 0)
	first := p.app(stepupssf.Push, func(c *stepupssf.Config) {
		known(c)
		c.Store = store
	})
	// Run is not called: nobody is told of anything.
	credential := key1().sign(p.claims("j2", stepupssf.EventCredentialChange, object{"change_type": "update"}, nil), nil)
	for _, set := range []string{p.stepUp("j1", "u1", "open"), credential} {
		if got := refusal(t, first.post(set, nil)); got != "" {
			t.Fatal(got)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	store = open(t, path, 0)
	second := p.app(stepupssf.Push, func(c *stepupssf.Config) {
		known(c)
		c.Store = store
	})
	if !second.open("u1") {
		t.Error("not warm")
	}
	if _, fresh := second.index.Fresh(); fresh {
		t.Error("fresh by its store")
	}
	p.start(second)
	p.until("it was told", func() bool { return second.Stats().Waiting == 0 })
	if applied, events := second.told(); len(applied) != 1 || len(events) != 1 {
		t.Errorf("told of %v, %v", applied, events)
	}
	second.mu.Lock()
	if e := second.events[0]; string(e.Members) != `{"change_type":"update"}` || e.Identifier.Members["user"].ID != "u1" || e.Subject.Session != "s1" {
		t.Errorf("%+v", e)
	}
	second.mu.Unlock()
	if got := refusal(t, second.post(credential, nil)); got != "" || second.Stats().Repeated != 1 {
		t.Errorf("a repeat after the start: %q, %+v", got, second.Stats())
	}
	if err := errors.Join(second.stop(), store.Close()); err != nil {
		t.Fatal(err)
	}

	store = open(t, path, 0)
	third := p.app(stepupssf.Push, func(c *stepupssf.Config) {
		known(c)
		c.Store = store
	})
	if third.Stats().Waiting != 0 || !third.open("u1") {
		t.Errorf("%+v, open %v", third.Stats(), third.open("u1"))
	}
}

// TestNamesAloneNeverFillAStore: what is kept only to know repeats gives way.
func TestNamesAloneNeverFillAStore(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "store"), 50_000)
	for n := range 2000 {
		e := event(n)
		if err := errors.Join(s.Accept(e), s.Done(e.Issuer, e.JTI)); err != nil {
			t.Fatalf("after %d: %v", n, err)
		}
	}
	all := loaded(t, s)
	if n := len(all); n < 100 || n > 300 || all[n-1].JTI != "e1999" {
		t.Errorf("%d names are known", n)
	}
}
