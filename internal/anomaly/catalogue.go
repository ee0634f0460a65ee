package anomaly

import (
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

// Mode says what becomes of a detection's findings.
type Mode string

// The modes of a detection: on, its findings count; observe, they are recorded and do nothing; off, there are none.
const (
	On      Mode = "on"
	Observe Mode = "observe"
	Off     Mode = "off"
)

// Detection is one entry of the catalogue. Its page in docs/detections is made of the comment on its variable.
type Detection struct {
	// ID is the catalogue id, such as "LOC-01"; Version grows when its outcome for some input changes.
	ID      string
	Version int
	Title   string
	// Technique is the MITRE ATT&CK technique, Severity the severities it can have before suppressions, lowest first.
	Technique string
	Severity  []events.Severity
}

// Detections lists the whole catalogue, in the order of the families.
func Detections() []*Detection { return slices.Clone(all) }

var all = []*Detection{
	&loc01, &loc02, &loc03, &loc04, &loc05, &loc06, &loc07, &loc08,
	&net01, &net02, &net03, &net04, &net05,
	&dev01, &dev02, &dev03, &dev04,
	&conj01, &conj02, &conj03,
	&fam01,
	&tim01, &tim02, &tim03,
	&crd01, &crd02, &crd03, &crd04, &crd05, &crd06, &crd07, &crd08,
	&mfa01, &mfa02, &mfa03, &mfa04, &mfa05, &mfa06,
	&ses01, &ses02, &ses03, &ses04, &ses05, &ses06, &ses07, &ses08,
	&oau01, &oau02, &oau03, &oau04, &oau05,
	&ait01, &ait02,
	&wkl01,
	&prv01,
	&idp01,
	&rsk01,
}

// byID finds an entry.
var byID = func() map[string]*Detection {
	m := make(map[string]*Detection, len(all))
	for _, d := range all {
		m[d.ID] = d
	}
	return m
}()

// severities of an entry.
func severities(s ...events.Severity) []events.Severity { return s }
