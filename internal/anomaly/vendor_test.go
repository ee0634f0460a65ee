package anomaly

import (
	"strings"
	"testing"
)

func TestProvidersDetectionsCorrespondToOurs(t *testing.T) {
	t.Parallel()
	for name, id := range corresponds {
		if byID[id] == nil || name != strings.ToLower(name) {
			t.Errorf("%s corresponds to %s: must be a detection of ours, and the name in lower case", name, id)
		}
	}
}
