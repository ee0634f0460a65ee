package api

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
	"github.com/countersign-io/countersign/internal/stream"
)

// Bounds of what is remembered until the history has it.
const (
	maxRecentMarks    = 1000
	maxRecentFindings = 4096
)

// recent is what this process has seen on the log, or sent to it, that the history may not have yet: marks, so that who has made
// one sees it at once, here and on every other API; and the newest findings, so that they can be marked while the history is
// away. It is bounded: the oldest go first.
type recent struct {
	mu       sync.Mutex
	marks    map[string]*events.Mark // by id
	findings map[string]marked
	order    []string // a ring of the findings' ids
	at       int
}

// marked is what a mark says of its finding.
type marked struct {
	tenant, user, detection string
	found                   events.Millis
}

func newRecent() *recent {
	return &recent{marks: map[string]*events.Mark{}, findings: map[string]marked{}, order: make([]string, maxRecentFindings)}
}

// see remembers a mark, whatever was seen before: repeats and any order come to the same.
func (r *recent) see(m *events.Mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks[m.ID] = m
	if len(r.marks) > maxRecentMarks {
		oldest := m
		for _, other := range r.marks {
			if other.Compare(oldest) < 0 {
				oldest = other
			}
		}
		delete(r.marks, oldest.ID)
	}
}

// found remembers a finding.
func (r *recent) found(f *events.Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.findings[f.ID]; known {
		return
	}
	delete(r.findings, r.order[r.at])
	r.findings[f.ID], r.order[r.at] = markedOf(f), f.ID
	r.at = (r.at + 1) % len(r.order)
}

func markedOf(f *events.Finding) marked {
	return marked{tenant: f.Tenant, user: f.User.ID, detection: f.Detection, found: f.Time}
}

func (r *recent) finding(id string) (marked, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, ok := r.findings[id]
	return f, ok
}

// newest is the newest mark of each finding of some tenants, by the finding's id.
func (r *recent) newest(scope report.Scope) map[string]*events.Mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest := map[string]*events.Mark{}
	for _, m := range r.marks {
		if scope.Allows(m.Tenant) && (newest[m.Finding] == nil || m.Compare(newest[m.Finding]) > 0) {
			newest[m.Finding] = m
		}
	}
	return newest
}

// of lists the marks of one finding.
func (r *recent) of(tenant, finding string) (list []events.Mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.marks {
		if m.Tenant == tenant && m.Finding == finding {
			list = append(list, *m)
		}
	}
	return list
}

// settle forgets marks that the history has: kept are the newest that it has of some findings.
func (r *recent) settle(kept map[string]events.Mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.marks, func(_ string, m *events.Mark) bool {
		k, ok := kept[m.Finding]
		return ok && k.Tenant == m.Tenant && k.Compare(m) >= 0
	})
}

// merge is the triage of findings that people have marked: what the history has, and what is newer here.
func (r *recent) merge(scope report.Scope, findings []string, kept map[string]events.Mark) map[string]report.Triage {
	merged := map[string]report.Triage{}
	newest := r.newest(scope)
	for _, id := range findings {
		if m := newer(kept, newest[id], id); m != nil {
			merged[id] = report.TriageOf(m)
		}
	}
	return merged
}

// newer is the newer of two marks of a finding, nil when there is none.
func newer(kept map[string]events.Mark, here *events.Mark, finding string) *events.Mark {
	k, ok := kept[finding]
	if ok && (here == nil || k.Compare(here) >= 0) {
		return &k
	}
	return here
}

// marksSince is how long an outage of the archiver may be whose marks are shown also by an API that was started meanwhile.
const marksSince = 24 * time.Hour

// loadMarks reads the marks that were made before this process followed their topic.
func (a *API) loadMarks(ctx context.Context) error {
	return a.deps.Log.LoadSince(ctx, events.TopicMarks, time.Now().Add(-marksSince), func(r stream.Record) error {
		if m, err := events.DecodeMark(r.Value); err == nil && m.Validate() == nil {
			a.recent.see(m)
		}
		return nil
	})
}

// together are the marks of a finding without repeats, the newest first.
func together(lists ...[]events.Mark) []events.Mark {
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(a, b events.Mark) int { return b.Compare(&a) })
	return slices.CompactFunc(all, func(a, b events.Mark) bool { return a.ID == b.ID })
}
