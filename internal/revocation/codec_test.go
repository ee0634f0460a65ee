package revocation

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
)

func TestEmptyStateHasNoBytes(t *testing.T) {
	s := NewState()
	for i := range 10 {
		s.Apply(proves(at(i, "s1"), events.MultiFactor), nil, policy.Decision{})
	}
	if b := s.AppendBinary(nil); len(b) != 0 {
		t.Errorf("%d bytes", len(b))
	}
	e := at(20, "s1")
	if n := testing.AllocsPerRun(100, func() { s.Apply(e, nil, policy.Decision{}) }); n != 0 {
		t.Errorf("an event without findings allocates %v times", n)
	}
}

func TestTypicalSize(t *testing.T) {
	s := NewState()
	e := at(0, "0f8fad5b-d9cb-469f-a165-70867728950e")
	s.Apply(e, high(e), decide(events.StepUp, policy.ScopeUser))
	if n := len(s.AppendBinary(nil)); n > 600 {
		t.Errorf("one open requirement takes %d bytes", n)
	}
}

// What format 1 wrote is read for ever: an open requirement on the user with a suspect.
func TestFormat1IsRead(t *testing.T) {
	written, err := os.ReadFile("testdata/state.v1.golden")
	if err != nil {
		t.Fatal(err)
	}
	s, err := DecodeState(written)
	if err != nil {
		t.Fatal(err)
	}
	if open := s.Open(); len(open) != 1 || open[0].Policy != "travel" || open[0].Session != "" || len(s.open[0].suspects) != 1 || len(s.judged) != 1 {
		t.Errorf("%+v", s)
	}
	again, err := DecodeState(s.AppendBinary(nil))
	if diff := cmp.Diff(again, s, cmp.AllowUnexported(State{}, entry{}), cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("%v (-got, +want)\n%s", err, diff)
	}
	if got := lines(s.Apply(proves(at(60, "s1"), events.MultiFactor), nil, policy.Decision{})); !slices.Equal(got, []string{"step_up user satisfied", "step_up evil open"}) {
		t.Error(got)
	}
}

// What format 2 wrote is read for ever: the end of all sessions, with a new credential and a cooldown.
func TestFormat2IsRead(t *testing.T) {
	written, err := os.ReadFile("testdata/state.v2.golden")
	if err != nil {
		t.Fatal(err)
	}
	s, err := DecodeState(written)
	if err != nil {
		t.Fatal(err)
	}
	if open := s.Open(); len(open) != 1 || !open[0].CredentialChange || open[0].UserName != "" || open[0].NoncompliantDevice || s.open[0].cooldown == 0 {
		t.Errorf("%+v", s)
	}
	again, err := DecodeState(s.AppendBinary(nil))
	if diff := cmp.Diff(again, s, cmp.AllowUnexported(State{}, entry{}), cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("%v (-got, +want)\n%s", err, diff)
	}
	if damaged := append([]byte(nil), written...); damaged[0] == 2 {
		damaged[0] = 3
		if _, err := DecodeState(damaged); err == nil {
			t.Error("format 2 that says it is 3: accepted")
		}
	}
}

// A requirement keeps the user's name and the non-compliant device, through the state and the claims.
func TestNameAndDeviceAreKept(t *testing.T) {
	s := NewState()
	e := at(0, "s1")
	e.User.Name, e.Device.ID, e.Device.Compliant = "ana@example.com", "d-7", events.No
	changes := s.Apply(e, high(e), decide(events.StepUp, policy.ScopeUser))
	read, err := ParseClaims(changes[0].Claims.Encode())
	if err != nil || read.UserName != "ana@example.com" || !read.NoncompliantDevice || read.Device != "d-7" {
		t.Errorf("%+v, %v", read, err)
	}
	again, err := DecodeState(s.AppendBinary(nil))
	if diff := cmp.Diff(again, s, cmp.AllowUnexported(State{}, entry{}), cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("%v (-got, +want)\n%s", err, diff)
	}
	calm := NewState()
	e.ID, e.Device.Compliant = "other", events.Yes
	if c := calm.Apply(e, high(e), decide(events.StepUp, policy.ScopeUser))[0].Claims; c.NoncompliantDevice || c.Device != "" {
		t.Errorf("%+v", c)
	}
	changes[0].Claims.UserName = strings.Repeat("x", events.MaxID+1)
	if _, err := ParseClaims(changes[0].Claims.Encode()); err == nil || !strings.Contains(err.Error(), "user_name") {
		t.Error(err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	s := NewState()
	e := at(0, "s1")
	s.Apply(e, high(e), decide(events.StepUp, policy.ScopeUser))
	good := s.AppendBinary(nil)
	for n := 1; n < len(good); n++ {
		if _, err := DecodeState(good[:n]); err == nil {
			t.Errorf("cut to %d of %d bytes: accepted", n, len(good))
		}
	}
	if _, err := DecodeState(append(slices.Clone(good), 0)); err == nil {
		t.Error("a byte too many: accepted")
	}
	newer := slices.Clone(good)
	newer[0] = stateFormat + 1
	if _, err := DecodeState(newer); !cmp.Equal(err, ErrNewerFormat, cmpopts.EquateErrors()) {
		t.Errorf("newer: %v", err)
	}
	for name, b := range map[string][]byte{
		"format 0": {0}, "huge count": {1, 255, 255, 255, 255, 15}, "overflow": {1, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1},
	} {
		if _, err := DecodeState(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzDecodeState(f *testing.F) {
	s := NewState()
	f.Add([]byte{})
	for i := range 5 {
		e := at(i, fmt.Sprint("s", i))
		s.Apply(e, high(e), decide(events.Actions[2+i%2], policy.ScopeSession))
		f.Add(s.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeState(b)
		if err != nil {
			return
		}
		canonical := s.AppendBinary(nil)
		again, err := DecodeState(canonical)
		if err != nil {
			t.Fatalf("reading what was written: %v", err)
		}
		if diff := cmp.Diff(again, s, cmp.AllowUnexported(State{}, entry{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-got, +want)\n%s", diff)
		}
		e := proves(at(1, "s1"), events.PhishingResistant)
		for _, c := range again.Apply(e, high(e), decide(events.StepUp, policy.ScopeUser)) {
			c.Claims.Encode()
		}
	})
}

func FuzzParseClaims(f *testing.F) {
	e := at(0, "s1")
	for _, scope := range []policy.Scope{policy.ScopeSession, policy.ScopeUser} {
		f.Add(NewState().Apply(e, high(e), decide(events.StepUp, scope))[0].Claims.Encode())
		f.Add(NewState().Apply(e, high(e), decide(events.RevokeSession, scope))[0].Claims.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseClaims(b)
		if err != nil {
			return
		}
		again, err := ParseClaims(c.Encode())
		if err != nil {
			t.Fatalf("reading what was written: %v\n%s", err, c.Encode())
		}
		if diff := cmp.Diff(again, c, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-got, +want)\n%s", diff)
		}
	})
}
