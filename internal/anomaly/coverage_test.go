package anomaly

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// certain are the detections that nothing harmless can look like, so that no scenario need show them silent.
var certain = []string{mfa02.ID, mfa04.ID}

// covered are the families of which every detection has scenarios.
var covered = []string{"LOC", "NET", "DEV", "CONJ", "FAM", "TIM", "PRV", "IDP", "RSK"}

// Every detection is found in some scenario, and some other gives reason to think of it where there is none.
func TestEveryDetectionHasScenarios(t *testing.T) {
	t.Parallel()
	found, benign := map[string]bool{}, map[string]bool{}
	for _, archive := range scenarioFiles(t) {
		s := newScenario(t)
		for _, line := range s.parts(archive)["findings"] {
			if f := strings.Fields(line); f[3] == string(events.Active) {
				found[f[1]] = true
			}
		}
		for _, id := range s.benign {
			benign[id] = true
		}
	}
	for _, d := range Detections() {
		family, _, _ := strings.Cut(d.ID, "-")
		if !slices.Contains(covered, family) {
			continue
		}
		if !found[d.ID] {
			t.Errorf("%s is found in no scenario", d.ID)
		}
		if !benign[d.ID] && !slices.Contains(certain, d.ID) {
			t.Errorf("no scenario shows %s silent", d.ID)
		}
	}
}

// Every severity that a detection's page names, short of what rungs make of it, is found in some scenario.
func TestEverySeverityHasAScenario(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for _, archive := range scenarioFiles(t) {
		for _, line := range newScenario(t).parts(archive)["findings"] {
			f := strings.Fields(line)
			found[f[1]+" "+f[2]] = true
		}
	}
	for _, d := range Detections() {
		family, _, _ := strings.Cut(d.ID, "-")
		for _, severity := range d.Severity {
			if slices.Contains(covered, family) && !found[d.ID+" "+string(severity)] {
				t.Errorf("%s of %s severity is found in no scenario", d.ID, severity)
			}
		}
	}
}

// forbidden are the rungs that must not record a finding, by detection or family: see TestRungsThatDoNotApply.
var forbidden = map[string][]string{
	"SES": {rungEgress, rungHidden, rungKnownWay, rungSame}, "AIT-01": {rungEgress, rungHidden, rungKnownWay, rungSame, rungProof},
	"AIT-02": {rungEgress, rungHidden, rungKnownWay, rungSame}, "CRD-06": {rungEgress, rungHidden, rungKnownWay, rungSame},
	"MFA-02": {rungEgress, rungHidden, rungKnownWay, rungSame}, "MFA-04": {rungEgress, rungHidden, rungKnownWay, rungSame, rungProof},
	"SES-05": {rungEgress, rungHidden, rungKnownWay, rungSame, rungProof},
}

// breaksLadder names the rung that recorded a finding which it must not touch, or "".
func breaksLadder(f *events.Finding) string {
	family, _, _ := strings.Cut(f.Detection, "-")
	for _, r := range f.Suppressions {
		if r.Effect == effectRecord && (slices.Contains(forbidden[f.Detection], r.Rung) || slices.Contains(forbidden[family], r.Rung)) {
			return r.Rung
		}
	}
	return ""
}
