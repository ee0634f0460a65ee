package explain

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestParametersReadAsTheConfigurationWritesThem(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]events.Parameter{
		"10m":      {Value: 1.0 / 6, Unit: "h"},
		"90 s":     {Value: 90, Unit: "s"},
		"2h":       {Value: 2, Unit: "h"},
		"1h30m":    {Value: 1.5, Unit: "h"},
		"1m30s":    {Value: 0.025, Unit: "h"},
		"20m":      {Value: 1.0 / 3, Unit: "h"},
		"0s":       {Value: 0, Unit: "h"},
		"14d":      {Value: 336, Unit: "h"},
		"28h":      {Value: 28, Unit: "h"},
		"800 km/h": {Value: 800, Unit: "km/h"},
		"5":        {Value: 5},
	} {
		if got := parameterText(p); got != want {
			t.Errorf("%v %s is %q, want %q", p.Value, p.Unit, got, want)
		}
	}
}

func TestRiskThatItsPartsDoNotAccountFor(t *testing.T) {
	t.Parallel()
	r := events.UserRisk{Before: 49.3, After: 79.3, Parts: []events.RiskPart{{Decibans: 54.7}, {Decibans: 30}}}
	if got := riskRest(&r); got != -5.4 {
		t.Errorf("the rest is %v", got)
	}
}
