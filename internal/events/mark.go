package events

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a mark. A comment may have line breaks and tabs, and no other control characters.
const (
	MaxComment  = 4 << 10
	MaxAssignee = 256
)

// TriageVerdict is what a person says of a finding.
type TriageVerdict string

// The verdicts. A finding without a mark is open.
const (
	TriageOpen         TriageVerdict = "open"
	TriageAcknowledged TriageVerdict = "acknowledged"
	TruePositive       TriageVerdict = "true_positive"
	FalsePositive      TriageVerdict = "false_positive"
)

// TriageVerdicts lists every verdict.
var TriageVerdicts = []TriageVerdict{TriageOpen, TriageAcknowledged, TruePositive, FalsePositive}

// Mark is what a person made of a finding. The newest mark of a finding, by [Mark.Compare], is its triage; older ones are how
// it came about.
type Mark struct {
	// ID is derived from all the rest by [MarkID].
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	// Finding is the finding's id; Detection, User and Found are its detection, its user's id and its time, so that marks can be
	// counted without it.
	Finding   string        `json:"finding"`
	Detection string        `json:"detection"`
	User      string        `json:"user"`
	Found     Millis        `json:"found"`
	Verdict   TriageVerdict `json:"verdict"`
	Comment   string        `json:"comment,omitempty"`
	// Assignee is who looks into it, as people call them.
	Assignee string `json:"assignee,omitempty"`
	// By is who set the mark, Time when.
	By   string `json:"by"`
	Time Millis `json:"time"`
}

// Key is the record key on the log: tenant/finding.
func (m *Mark) Key() string { return Key(m.Tenant, m.Finding) }

// MarkID names a mark by all that it says.
func MarkID(m *Mark) string {
	return ID("mark", m.Tenant, m.Finding, string(m.Verdict), m.Comment, m.Assignee, m.By, strconv.FormatInt(int64(m.Time), 10))
}

// Compare orders marks by time, and by id at one time: of a finding's marks the greatest holds, in whatever order they came.
func (m *Mark) Compare(other *Mark) int {
	return cmp.Or(cmp.Compare(m.Time, other.Time), cmp.Compare(m.ID, other.ID))
}

// Validate checks that a mark means something, and reports every problem, each as "path: problem".
func (m *Mark) Validate() error {
	var problems []error
	bad := func(path, format string, args ...any) {
		problems = append(problems, fmt.Errorf(path+": "+format, args...))
	}
	if !ValidTenant(m.Tenant) {
		bad("tenant", "is %.80q, must be 1 to %d letters, digits, dots, dashes or underscores", m.Tenant, MaxTenant)
	}
	hexID(bad, "id", m.ID)
	hexID(bad, "finding", m.Finding)
	line(bad, "detection", m.Detection, MaxID, true)
	line(bad, "user", m.User, MaxID, true)
	line(bad, "by", m.By, MaxID, true)
	line(bad, "assignee", m.Assignee, MaxAssignee, false)
	if err := ValidComment(m.Comment); err != nil {
		bad("comment", "%w", err)
	}
	if m.Found == 0 {
		bad("found", "is missing")
	}
	if m.Time == 0 {
		bad("time", "is missing")
	}
	if !slices.Contains(TriageVerdicts, m.Verdict) {
		bad("verdict", "is %.40q, must be one of %s", m.Verdict, list(TriageVerdicts))
	}
	return errors.Join(problems...)
}

// ValidComment reports what keeps a text from being a comment.
func ValidComment(s string) error {
	switch {
	case len(s) > MaxComment:
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(s), MaxComment)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }):
		return errors.New("has control characters other than line breaks and tabs, or invalid UTF-8")
	}
	return nil
}

// ValidLine reports what keeps a text from being one line of at most limit bytes, such as a name.
func ValidLine(s string, limit int) error {
	switch {
	case len(s) > limit:
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(s), limit)
	case !clean(s):
		return errors.New("has control characters or invalid UTF-8")
	}
	return nil
}

func line(bad func(path, format string, args ...any), path, s string, limit int, required bool) {
	if s == "" && required {
		bad(path, "is missing")
	} else if err := ValidLine(s, limit); err != nil {
		bad(path, "%w", err)
	}
}

// hexID checks an id of ours.
func hexID(bad func(path, format string, args ...any), path, id string) {
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		bad(path, "is %.40q, must be 32 lower-case hexadecimal digits", id)
	}
}

// DecodeMark reads one mark.
func DecodeMark(b []byte) (*Mark, error) {
	m := new(Mark)
	if err := decode(b, m); err != nil {
		return nil, err
	}
	return m, nil
}
