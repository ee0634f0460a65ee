package courier

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
)

// What is removed must be named in full by a decision to be left out; what was added may say more or less than it.
func TestWhichSubjectsAreWanted(t *testing.T) {
	t.Parallel()
	const (
		user    = `"user":{"format":"opaque","id":"alice"}`
		session = `"session":{"format":"opaque","id":"session-1"}`
		other   = `"session":{"format":"opaque","id":"session-2"}`
		device  = `"device":{"format":"opaque","id":"d1"}`
	)
	now := time.Now()
	long := now.Add(-2 * time.Hour).Unix()
	for _, c := range []struct {
		name, subject string
		all           bool
		removed       int64
		alice, bob    bool
	}{
		{"nothing", "", true, 0, true, true},
		{"a device removed", device, true, long, true, true},
		{"a unit removed", `"org_unit":{"format":"opaque","id":"x"}`, true, long, true, true},
		{"a user removed", user, true, long, false, true},
		{"a user removed a moment ago", user, true, now.Unix() - 60, true, true},
		{"her session removed", user + "," + session, true, long, false, true},
		{"another session removed", user + "," + other, true, long, true, true},
		{"her device removed", user + "," + device, true, long, true, true},
		{"a user added", user, false, 0, true, false},
		{"her device added", user + "," + device, false, 0, true, false},
		{"another session added", user + "," + other, false, 0, false, false},
		{"a session added", session, false, 0, true, true},
	} {
		s := ssf.Stream{Tenant: "acme", DefaultSubjects: ssf.SubjectsNone}
		if c.all {
			s.DefaultSubjects = ssf.SubjectsAll
		}
		if c.subject != "" {
			s.Subjects = []ssf.SubjectEntry{{Subject: set.Subject(`{"format":"complex",` + c.subject + `}`), Removed: c.removed}}
		}
		w := newSubjects(&s)
		for name, want := range map[string]bool{"alice": c.alice, "bob": c.bob} {
			claims := claimsOf(name, "1")
			if got := w.matches(&s, &claims, now, time.Hour); got != want {
				t.Errorf("%s: %s is wanted: %t, want %t", c.name, name, got, want)
			}
		}
	}
}

func BenchmarkThousandComplexSubjects(b *testing.B) {
	s := ssf.Stream{Tenant: "acme", DefaultSubjects: ssf.SubjectsNone}
	for i := range 1000 {
		subject := fmt.Sprintf(`{"format":"complex","user":{"format":"opaque","id":"u%d"}}`, i)
		s.Subjects = append(s.Subjects, ssf.SubjectEntry{Subject: set.Subject(subject)})
	}
	w := newSubjects(&s)
	c := claimsOf("somebody", "1")
	for b.Loop() {
		w.matches(&s, &c, time.Now(), time.Hour)
	}
}
