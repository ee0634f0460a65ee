package anomaly

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/profile"
)

// A scenario is a text archive in testdata. Its comment says what it shows and why; its files are
//
//	user       "new", or "known PLACE DEVICE [times=N] [every=SPAN] [until=DAY] [KEY=VALUE...]": 20 sign-ins there, one a day, until
//	           day -3; several lines may follow
//	config     optional: parameters that differ from the defaults, as in the configuration file
//	allow      optional: what the operator vouches for, a prefix, an AS number or a country a line
//	org        optional: what is known of the organisation from the first event on, see context; 60 days of it unless "span" says
//	           otherwise
//	events     in the order of arrival: [DAYd] HH:MM[:SS] LABEL KIND PLACE DEVICE [KEY=VALUE...]; see repeated for several in a line
//	watch      optional: the detections that the scenario is about, all without it
//	benign     optional: detections that the scenario gives reason to think of, and none of whose findings may count. They are
//	           watched
//	findings   what must be found of them, and what else counts (active, medium or more): LABEL DETECTION SEVERITY DISPOSITION
//	           [after=LABELS] [RUNG=EFFECT...], with the rungs that had an effect
//	summaries  optional: LABEL DETECTION TEXT
//
// A PLACE is a city, or city/network with a network of the table in scenario_event_test.go, where the options are too.

var update = flag.Bool("update", false, "write what is found into the scenarios; review every line as text")

func scenarioFiles(t *testing.T) map[string]*txtar.Archive {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	archives := make(map[string]*txtar.Archive, len(files))
	for _, file := range files {
		if archives[file], err = txtar.ParseFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return archives
}

func TestScenarios(t *testing.T) { //nolint:tparallel // a summary follows the scenarios
	for file, archive := range scenarioFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			s := newScenario(t)
			parts := s.parts(archive)
			s.run(parts)
			if *update {
				for i := range archive.Files {
					if archive.Files[i].Name == "findings" {
						archive.Files[i].Data = []byte(strings.Join(append(s.findings, ""), "\n"))
					}
				}
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(s.findings, parts["findings"]); diff != "" {
				t.Errorf("findings (-got, +want)\n%s", diff)
			}
			for _, line := range parts["summaries"] {
				if !slices.Contains(s.summaries, line) {
					t.Errorf("no finding says\n%s\nbut\n%s", line, strings.Join(s.summaries, "\n"))
				}
			}
			for _, line := range s.findings {
				if f := strings.Fields(line); slices.Contains(s.benign, f[1]) && f[3] == string(events.Active) {
					t.Errorf("benign, and yet %s", line)
				}
			}
		})
	}
}

type scenario struct {
	*testing.T
	labels        map[string]string // event id → label
	watch, benign []string
	findings      []string
	summaries     []string
}

func newScenario(t *testing.T) *scenario {
	return &scenario{T: t, labels: map[string]string{}, findings: []string{}}
}

// parts are the files of a scenario as lines; the configuration is one piece of text.
func (s *scenario) parts(archive *txtar.Archive) map[string][]string {
	parts := map[string][]string{}
	for _, f := range archive.Files {
		switch f.Name {
		case "config":
			parts[f.Name] = []string{string(f.Data)}
		case "user", "allow", "watch", "benign", "events", "org", "findings", "summaries":
			parts[f.Name] = append([]string{}, s.lines(string(f.Data))...)
		default:
			s.Fatalf("unknown part %q", f.Name)
		}
	}
	s.benign = strings.Fields(strings.Join(parts["benign"], " "))
	s.watch = strings.Fields(strings.Join(parts["watch"], " "))
	if len(s.watch) > 0 || len(s.benign) > 0 {
		s.watch = append(s.watch, s.benign...)
	}
	for _, id := range s.watch {
		if byID[id] == nil {
			s.Fatalf("no detection %s", id)
		}
	}
	return parts
}

// lines drops comments and empty lines, and joins blanks.
func (s *scenario) lines(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// config reads the parameters and the operator's list.
func (s *scenario) config(parts map[string][]string) Config {
	config := DefaultConfig()
	for _, text := range parts["config"] {
		d := yaml.NewDecoder(strings.NewReader(text))
		d.KnownFields(true)
		if err := d.Decode(&config); err != nil {
			s.Fatal(err)
		}
	}
	if config.Modes == nil {
		config.Modes = map[string]Mode{}
	}
	if !slices.Contains(s.watch, fam01.ID) {
		config.Modes[fam01.ID] = Off // its limits are measured, not written down
	}
	for _, entry := range parts["allow"] {
		switch {
		case strings.Contains(entry, "/"):
			config.Allow.Prefixes = append(config.Allow.Prefixes, entry)
		case strings.HasPrefix(entry, "AS"):
			config.Allow.ASNs = append(config.Allow.ASNs, uint32(s.number(entry[2:])))
		default:
			config.Allow.Countries = append(config.Allow.Countries, entry)
		}
	}
	return config
}

func (s *scenario) run(parts map[string][]string) {
	c, err := New(s.config(parts))
	if err != nil {
		s.Fatal(err)
	}
	p := profile.New()
	for _, line := range parts["user"] {
		if line != "new" {
			s.getKnown(c, p, line)
		}
	}
	told := s.context(parts["org"])
	for _, line := range s.repeated(parts["events"]) {
		e := s.event(line)
		found := c.Evaluate(p, told, e).Findings
		// A profile that was stored and read back must go on the same.
		if p, err = profile.Decode(p.AppendBinary(nil)); err != nil {
			s.Fatal(err)
		}
		for i := range found {
			if len(s.watch) == 0 || slices.Contains(s.watch, found[i].Detection) || adverse(found[i]) {
				s.describe(&found[i])
			}
		}
	}
}

// getKnown lets the user sign in again and again as a line of the part "user" says.
func (s *scenario) getKnown(c *Catalogue, p *profile.Profile, line string) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "known" {
		s.Fatalf("user %q", line)
	}
	times, every, until := 20, events.Millis(events.Day), -3
	var options []string
	for _, option := range f[3:] {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "times":
			times = s.number(value)
		case "every":
			every = s.span(value)
		case "until":
			until = s.number(value)
		default:
			options = append(options, option)
		}
	}
	for i := range times {
		e := s.event(fmt.Sprintf("%dd 08:00 known%d sign_in %s %s %s", until, i, f[1], f[2], strings.Join(options, " ")))
		e.Time -= events.Millis(times-1-i) * every
		e.ID = events.EventID("acme", "known", fmt.Sprint(line, i))
		if found := c.Evaluate(p, (*org.Context)(nil), e).Findings; active(found) {
			s.Fatalf("while getting known: %s", events.Encode(&found[0]))
		}
	}
}

func active(found []events.Finding) bool { return slices.ContainsFunc(found, adverse) }

func (s *scenario) describe(f *events.Finding) {
	line := fmt.Sprintf("%s %s %s %s", s.labels[f.EventID], f.Detection, f.Severity, f.Disposition)
	if len(f.Anchors) > 0 {
		var after []string
		for _, id := range f.Anchors {
			after = append(after, s.labels[id])
		}
		line += " after=" + strings.Join(after, ",")
	}
	for _, r := range f.Suppressions {
		if r.Effect != effectNone {
			line += fmt.Sprintf(" %s=%s", r.Rung, r.Effect)
		}
	}
	s.findings = append(s.findings, line)
	s.summaries = append(s.summaries, fmt.Sprintf("%s %s %s", s.labels[f.EventID], f.Detection, f.Summary))
}

func (s *scenario) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.Fatal(err)
	}
	return n
}

func (s *scenario) float(text string) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		s.Fatal(err)
	}
	return v
}
