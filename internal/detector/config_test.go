package detector

import (
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/anomaly"
)

// A problem that does not say under which section it is sends people to keys that there are not.
func TestEveryProblemOfAConfigurationHasItsWholePath(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.Anomaly.Travel.MinKm, c.Anomaly.Learning.Logins, c.Anomaly.Modes = 1, -1, map[string]anomaly.Mode{"LOC-99": anomaly.Off}
	c.Network.Spray.Users, c.Network.Incidents = 0, 0
	c.Group = ""
	lines := strings.Split(c.Validate().Error(), "\n")
	if len(lines) < 6 {
		t.Fatalf("%q", lines)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "anomaly.") && !strings.HasPrefix(line, "network.") && !strings.HasPrefix(line, "group:") {
			t.Errorf("%q has no path", line)
		}
	}
}
