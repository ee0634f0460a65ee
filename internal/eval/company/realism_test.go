package company

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// profile is what a year of sign-ins would be drawn from for one user.
type habits struct {
	frequency Frequency
	logins    int
	ips       map[string]bool
	prefixes  map[string]bool
	networks  map[uint32]bool
	agents    map[string]bool
	families  map[string]bool
}

// The figures must be those of a company: neither so regular that any detection shines, nor so wild that none can.
// -v prints them.
func TestTheCompanyIsCredible(t *testing.T) {
	t.Parallel()
	cfg := EvalConfig(2000)
	c := New(cfg)
	users := map[string]*habits{}
	var order []string
	confounders, causes := map[Confounder]int{}, map[events.Cause]int{}
	attempts, failures, total, genuine := 0, 0, 0, 0
	attacks := map[Attack]int{}
	incidents := map[Attack]map[int]bool{}
	for e, l := range c.Events() {
		total++
		if l.Attack != "" {
			attacks[l.Attack]++
			if incidents[l.Attack] == nil {
				incidents[l.Attack] = map[int]bool{}
			}
			incidents[l.Attack][l.Incident] = true
			continue
		}
		genuine++
		confounders[l.Confounder]++
		if e.Kind != events.SignIn || e.Interactive != events.Yes || e.Outcome == events.Interrupt {
			continue
		}
		attempts++
		if e.Outcome == events.Failure {
			failures++
			causes[e.Cause]++
			continue
		}
		h := users[e.User.ID]
		if h == nil {
			i, _ := c.userOf(e.Tenant, e.User.ID)
			h = &habits{c.staff[i].frequency, 0, map[string]bool{}, map[string]bool{}, map[uint32]bool{}, map[string]bool{}, map[string]bool{}}
			users[e.User.ID], order = h, append(order, e.User.ID)
		}
		h.logins++
		h.ips[e.IP], h.prefixes[e.Network.Prefix], h.networks[e.Network.ASN] = true, true, true
		h.agents[e.UserAgent], h.families[e.Device.OS+" "+e.Device.Browser] = true, true
	}
	var report strings.Builder
	fmt.Fprintf(&report, "%d events, %.2f a user and day; %d genuine\n", total, float64(total)/float64(cfg.Users*cfg.Days), genuine)
	fmt.Fprintf(&report, "%d interactive attempts, %.1f %% failed: %v\n", attempts, 100*float64(failures)/float64(attempts), causes)
	for _, k := range append([]Confounder{""}, Confounders...) {
		fmt.Fprintf(&report, "  %-20s %7d  %6.3f %%\n", k, confounders[k], 100*float64(confounders[k])/float64(genuine))
		if confounders[k] == 0 && k != StepUpDone {
			t.Errorf("no %s", k)
		}
	}
	median := func(of func(*habits) int, f Frequency) int {
		var list []int
		for _, id := range order {
			if users[id].frequency == f {
				list = append(list, of(users[id]))
			}
		}
		slices.Sort(list)
		if len(list) == 0 {
			return 0
		}
		return list[len(list)/2]
	}
	for f, name := range []string{"daily", "several a week", "weekly", "monthly", "rarer"} {
		f := Frequency(f)
		fmt.Fprintf(&report, "  %-15s median sign-ins %3d, addresses %2d, prefixes %2d, networks %d, user agents %d, browsers %d\n", name,
			median(func(h *habits) int { return h.logins }, f), median(func(h *habits) int { return len(h.ips) }, f),
			median(func(h *habits) int { return len(h.prefixes) }, f), median(func(h *habits) int { return len(h.networks) }, f),
			median(func(h *habits) int { return len(h.agents) }, f), median(func(h *habits) int { return len(h.families) }, f))
	}
	for _, k := range Attacks {
		fmt.Fprintf(&report, "  %-24s %4d incidents, %6d events\n", k, len(incidents[k]), attacks[k])
	}
	t.Log("\n" + report.String())
	if share := float64(failures) / float64(attempts); share < 0.1 || share > 0.2 {
		t.Errorf("%.3f of the interactive attempts fail", share)
	}
	if a, b := median(func(h *habits) int { return h.logins }, Daily), median(func(h *habits) int { return h.logins }, Weekly); a < 39 || b > 25 {
		t.Errorf("%d sign-ins of daily users, %d of weekly ones", a, b)
	}
	if n := median(func(h *habits) int { return len(h.ips) }, Daily); n < 4 || n > 25 {
		t.Errorf("%d addresses", n)
	}
	if n := median(func(h *habits) int { return len(h.agents) }, Daily); n < 3 || n > 12 {
		t.Errorf("%d user agents", n)
	}
	if per := float64(total) / float64(cfg.Users*cfg.Days); per < 4 || per > 8 {
		t.Errorf("%.1f events a user and day", per)
	}
}
