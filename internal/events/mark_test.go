package events

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func exampleMark() *Mark {
	m := &Mark{
		Tenant: "acme", Finding: ID("finding", "1"), Detection: "LOC-01", User: "u1", Found: 1767225599123, Verdict: TruePositive,
		Comment: "two\n\tlines", Assignee: "Bo", By: "bo", Time: 1767226200000,
	}
	m.ID = MarkID(m)
	return m
}

func exampleAudit() *AuditEntry {
	a := &AuditEntry{
		Time: 1767226200000, Tenant: "acme", Actor: "bo", Via: ViaToken, Action: "finding.triage", Target: ID("finding", "1"), User: "u1",
		Detail: "true_positive", Outcome: AuditDone, Address: "2001:db8::1", Request: "r-1",
	}
	a.ID = AuditID(a)
	return a
}

func TestMarksAndAuditEntriesSurviveTheWire(t *testing.T) {
	t.Parallel()
	m, a := exampleMark(), exampleAudit()
	gotMark, err := DecodeMark(Encode(m))
	if err != nil {
		t.Fatal(err)
	}
	gotEntry, err := DecodeAudit(Encode(a))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(gotMark, m) + cmp.Diff(gotEntry, a); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	for name, err := range map[string]error{"mark": m.Validate(), "entry": a.Validate()} {
		if err != nil {
			t.Errorf("the %s: %v", name, err)
		}
	}
	if m.Key() != "acme/"+m.Finding || a.Key() != "acme" || (&AuditEntry{}).Key() != "*" {
		t.Errorf("keys %q, %q, %q", m.Key(), a.Key(), (&AuditEntry{}).Key())
	}
}

func TestMarksNameEveryProblem(t *testing.T) {
	t.Parallel()
	for path, change := range map[string]func(*Mark){
		"tenant: ":      func(m *Mark) { m.Tenant = "a/b" },
		"id: ":          func(m *Mark) { m.ID = strings.ToUpper(m.ID) },
		"finding: ":     func(m *Mark) { m.Finding = "x" },
		"detection: is": func(m *Mark) { m.Detection = "" },
		"user: has":     func(m *Mark) { m.User = strings.Repeat("u", MaxID+1) },
		"by: has":       func(m *Mark) { m.By = "a\x00b" },
		"assignee: has": func(m *Mark) { m.Assignee = strings.Repeat("é", MaxAssignee/2+1) },
		"comment: has ": func(m *Mark) { m.Comment = strings.Repeat("c", MaxComment+1) },
		"comment: has c": func(m *Mark) {
			m.Comment = "a\x1b[31mb"
		},
		"found: ":   func(m *Mark) { m.Found = 0 },
		"time: ":    func(m *Mark) { m.Time = 0 },
		"verdict: ": func(m *Mark) { m.Verdict = "meh" },
	} {
		m := exampleMark()
		change(m)
		if err := m.Validate(); err == nil || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestAuditEntriesNameEveryProblem(t *testing.T) {
	t.Parallel()
	for path, change := range map[string]func(*AuditEntry){
		"tenant: ":    func(a *AuditEntry) { a.Tenant = "a b" },
		"id: ":        func(a *AuditEntry) { a.ID = "" },
		"time: ":      func(a *AuditEntry) { a.Time = 0 },
		"action: ":    func(a *AuditEntry) { a.Action = "Drop Table" },
		"actor: ":     func(a *AuditEntry) { a.Actor = "a\nb" },
		"target: ":    func(a *AuditEntry) { a.Target = strings.Repeat("t", MaxAuditTarget+1) },
		"user: ":      func(a *AuditEntry) { a.User = "\xff" },
		"detail: ":    func(a *AuditEntry) { a.Detail = "\x7f" },
		"request: ":   func(a *AuditEntry) { a.Request = "" },
		"via: ":       func(a *AuditEntry) { a.Via = "magic" },
		"outcome: is": func(a *AuditEntry) { a.Outcome = "" },
		"outcome: ":   func(a *AuditEntry) { a.Outcome = "meh" },
		"address: ":   func(a *AuditEntry) { a.Address = "here" },
	} {
		a := exampleAudit()
		change(a)
		if err := a.Validate(); err == nil || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Whatever a caller sends, what it did can be written down.
func TestACleanedEntryIsValid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return string(rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, name)) }
		a := &AuditEntry{
			Time: 1, Tenant: text("tenant"), Actor: text("actor"), Via: Via(text("via")), Action: "user.read", Target: text("target"),
			User: text("user"), Detail: text("detail"), Outcome: AuditRefused, Address: text("address"), Request: "r",
		}
		a.Clean()
		a.ID = AuditID(a)
		if err := a.Validate(); err != nil {
			t.Fatal(err)
		}
	})
}

// Any order of marks, with repeats, gives the same triage: that of the newest, and at one time that of the greatest id.
func TestTheNewestMarkHoldsInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var marks []*Mark
		for i := range rapid.IntRange(1, 12).Draw(t, "marks") {
			m := exampleMark()
			m.Time = Millis(rapid.IntRange(1, 4).Draw(t, "time"))
			m.Verdict = rapid.SampledFrom(TriageVerdicts).Draw(t, "verdict")
			m.By = fmt.Sprint(i % 3)
			m.ID = MarkID(m)
			marks = append(marks, m)
		}
		want := marks[0]
		for _, m := range marks {
			if m.Time > want.Time || m.Time == want.Time && m.ID > want.ID {
				want = m
			}
		}
		order := append(append([]*Mark{}, marks...), marks[:len(marks)/2]...)
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		holds := order[0]
		for _, m := range order {
			if m.Compare(holds) > 0 {
				holds = m
			}
		}
		if holds.ID != want.ID {
			t.Fatalf("%s of %d holds, want %s of %d", holds.ID, holds.Time, want.ID, want.Time)
		}
	})
}

func FuzzDecodeMark(f *testing.F) {
	f.Add(Encode(exampleMark()))
	f.Add([]byte(`{"time":"2026-02-31T00:00:00.000Z","comment":"\u0000"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := DecodeMark(in)
		if err != nil || m.Validate() != nil {
			return
		}
		again, err := DecodeMark(Encode(m))
		if err != nil || *again != *m {
			t.Errorf("a valid mark does not read back: %+v, %+v, %v", m, again, err)
		}
	})
}

func FuzzDecodeAudit(f *testing.F) {
	f.Add(Encode(exampleAudit()))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := DecodeAudit(in)
		if err != nil || a.Validate() != nil {
			return
		}
		again, err := DecodeAudit(Encode(a))
		if err != nil || *again != *a {
			t.Errorf("a valid entry does not read back: %+v, %+v, %v", a, again, err)
		}
	})
}
