package familiarity_test

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/eval/score"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

// The study behind docs/adr/0008-familiarity.md replays companies, seeds 1 to 5, through variants of the score:
//
//	go test ./internal/familiarity -run TestStudy -study 1000 -v
var (
	studyUsers = flag.Int("study", 0, "employees of each company of the study; 0 leaves it out")
	studyDays  = flag.Int("study-days", 90, "days of the study")
)

const studySeeds = 5

// heard is one success of an employee.
type heard struct {
	user int
	at   events.Millis
	l    familiarity.Login
	// whole is the login with its whole address.
	whole familiarity.Login
	kind  heardKind
	// managed tells that the device is, for providers that give an id of those only.
	managed    bool
	confounder company.Confounder
	// attempts are by attacker, after logins with the history sizes of [score.Histories].
	attempts []heard
}

type heardKind uint8

const (
	interactive heardKind = iota // a login
	refreshed
	used
)

// hear lists the successes of a company and the attempts on it.
func hear(tb testing.TB, seed uint64, users, days int) []heard {
	cfg := company.DefaultConfig()
	cfg.Seed, cfg.Users, cfg.Days, cfg.AttacksPerDay = seed, users, days, 0
	c := company.New(cfg)
	index, logins := map[string]int{}, map[int]int{}
	var list []heard
	for e, label := range c.Events() {
		if e.Outcome != events.Success || e.Kind != events.SignIn && e.Kind != events.SessionUse || e.User.Type != "" {
			continue
		}
		u, known := index[e.User.ID]
		if !known {
			u = len(index)
			index[e.User.ID] = u
		}
		h := heard{user: u, at: e.Time, l: familiarity.LoginOf(&e), whole: familiarity.PublishedLoginOf(&e), managed: e.Device.Managed == events.Yes, confounder: label.Confounder}
		switch {
		case e.Kind == events.SessionUse:
			h.kind = used
		case e.Interactive == events.No:
			h.kind = refreshed
		default:
			if logins[u]++; slices.Contains(score.Histories, logins[u]) {
				for _, kind := range company.Statistical {
					a, err := c.Attempt(kind, e.Key(), e.Time+later(e.Time))
					if err != nil {
						tb.Fatal(err)
					}
					h.attempts = append(h.attempts, heard{user: u, at: a.Time, l: familiarity.LoginOf(&a), whole: familiarity.PublishedLoginOf(&a)})
				}
			}
		}
		list = append(list, h)
	}
	return list
}

// later is when an attempt comes after a login: within a day, since an attacker keeps no hours.
func later(at events.Millis) events.Millis { return at * 7919 % events.Day }

// scorer is what a variant makes of a login.
type scorer interface {
	score(user int, l familiarity.Login, at events.Millis) (float64, bool)
	learn(user int, l familiarity.Login, at events.Millis)
	// midnight is told of each new day.
	midnight(at events.Millis)
}

// ratio scores a login of a user.
type ratio func(p *production, c *familiarity.Counts, l familiarity.Login, at events.Millis) (float64, bool)

// production is the score as it is used, or a part of it.
type production struct {
	model  familiarity.Model
	ratio  ratio
	alone  bool // without a tenant
	counts map[int]*familiarity.Counts
	totals familiarity.Totals
	prior  *familiarity.Prior
}

func (p *production) of(user int) *familiarity.Counts {
	c := p.counts[user]
	if c == nil {
		c = &familiarity.Counts{}
		p.counts[user] = c
	}
	return c
}

func (p *production) score(user int, l familiarity.Login, at events.Millis) (float64, bool) {
	return p.ratio(p, p.of(user), l, at)
}

func (p *production) learn(user int, l familiarity.Login, at events.Millis) {
	p.of(user).Learn(l, at)
	p.totals.Learn(l, at)
}

func (p *production) midnight(at events.Millis) {
	if !p.alone {
		p.prior = familiarity.PriorOf(p.totals.Levels(), len(p.counts), p.totals.Total(at))
	}
}

// whole is the score as it is.
func whole(p *production, c *familiarity.Counts, l familiarity.Login, at events.Millis) (float64, bool) {
	s, ok := p.model.Score(c, p.prior, l, at)
	return s.Value, ok
}

// ratios leaves out how often the user logs in.
func ratios(p *production, c *familiarity.Counts, l familiarity.Login, at events.Millis) (float64, bool) {
	s, ok := p.model.Score(c, p.prior, l, at)
	for _, part := range s.Parts {
		if part.Feature == "frequency" {
			s.Value -= part.LogRatio
		}
	}
	return s.Value, ok
}

// mixed is the published form with decay and back-off to the tenant.
func mixed(weights [familiarity.Levels]float64) ratio {
	return func(p *production, c *familiarity.Counts, l familiarity.Login, at events.Millis) (float64, bool) {
		return familiarity.Mixture(weights, c, p.prior, l, at)
	}
}

// published is the published form itself.
type published struct{ *familiarity.Published }

func (p published) score(user int, l familiarity.Login, _ events.Millis) (float64, bool) {
	s, ok := p.Score(fmt.Sprint(user), l)
	return math.Log(s), ok
}

func (p published) learn(user int, l familiarity.Login, _ events.Millis) { p.Add(fmt.Sprint(user), l) }

func (p published) midnight(events.Millis) {}

// variant is one line of the study.
type variant struct {
	name string
	make func() scorer
	// learns is the last kind that is learnt from; device says whose ids are known.
	learns heardKind
	device func(managed bool) bool
	// whole has addresses of mobile carriers and their like count as well.
	whole bool
}

// studied is what came out for one company.
type studied struct {
	curve *score.Curve
	// flagged and logins are by confounder, with the thresholds of the production form, after the first thirty days.
	flagged, logins map[company.Confounder]int
	caught          [4]int // attempts above those thresholds, after 39 logins
	tried           int
}

const studyTarget = 0.01

// absent is a device without an id.
var absent = familiarity.LoginOf(&events.Event{}).Values[familiarity.DeviceID]

func replay(list []heard, v *variant) studied {
	s := v.make()
	names := make([]string, len(company.Statistical))
	for i, kind := range company.Statistical {
		names[i] = string(kind)
	}
	r := studied{curve: score.NewCurve(names), flagged: map[company.Confounder]int{}, logins: map[company.Confounder]int{}}
	var thresholds familiarity.Thresholds
	limits := map[string]float64{}
	rhythm := map[int]*familiarity.Counts{}
	seen := func(h *heard) familiarity.Login {
		l := h.l
		if v.whole {
			l = h.whole
		}
		if !v.device(h.managed) {
			l.Values[familiarity.DeviceID] = absent
		}
		return l
	}
	value := func(h *heard) float64 {
		if x, ok := s.score(h.user, seen(h), h.at); ok {
			return x
		}
		return score.Unscored
	}
	today := int64(0)
	for i := range list {
		h := &list[i]
		if day := int64(h.at) / events.Day; day != today {
			today = day
			s.midnight(h.at)
			for _, t := range thresholds.Table(studyTarget) {
				limits[t.Class] = t.Score
			}
		}
		if rhythm[h.user] == nil {
			rhythm[h.user] = &familiarity.Counts{}
		}
		class := familiarity.ClassOf(rhythm[h.user], h.at)
		limit, limited := limits[class]
		if h.kind == interactive {
			x := value(h)
			r.curve.Login(h.user, x)
			if x != score.Unscored {
				thresholds.Add(class, x, h.at)
			}
			if limited && h.at > list[0].at+30*events.Day {
				r.logins[h.confounder]++
				if x > limit {
					r.flagged[h.confounder]++
				}
			}
		}
		if h.kind <= v.learns {
			s.learn(h.user, seen(h), h.at)
		}
		rhythm[h.user].Learn(familiarity.Login{}, h.at)
		for k := range h.attempts {
			x := value(&h.attempts[k])
			r.curve.Attempt(h.user, k, x)
			if limited && r.curve.Logins(h.user) == score.Longest {
				if x > limit {
					r.caught[k]++
				}
				if k == 0 {
					r.tried++
				}
			}
		}
	}
	return r
}

func TestStudy(t *testing.T) {
	if *studyUsers == 0 {
		t.Skip("a study for people: -study 1000")
	}
	var companies [studySeeds][]heard
	for i := range companies {
		companies[i] = hear(t, uint64(i+1), *studyUsers, *studyDays)
	}
	of := func(ratio ratio, change func(*production)) func() scorer {
		return func() scorer {
			p := &production{model: familiarity.DefaultModel(), ratio: ratio, counts: map[int]*familiarity.Counts{}}
			if change != nil {
				change(p)
			}
			return p
		}
	}
	model := func(change func(m *familiarity.Model)) func() scorer {
		return of(whole, func(p *production) { change(&p.model) })
	}
	all, none, some := func(bool) bool { return true }, func(bool) bool { return false }, func(managed bool) bool { return managed }
	weights := [familiarity.Levels]float64{familiarity.DeviceID: 1}
	copy(weights[:], familiarity.PublishedWeights[:])
	steep := weights
	steep[familiarity.IP], steep[familiarity.ASN], steep[familiarity.Country] = 0.99, 0.009, 0.001
	form := of(whole, nil)
	variants := []variant{
		{"published", func() scorer { return published{familiarity.NewPublished()} }, refreshed, none, true},
		{"mixture, no device id", of(mixed(weights), nil), refreshed, none, false},
		{"mixture, address .99, no id", of(mixed(steep), nil), refreshed, none, false},
		{"mixture, device id", of(mixed(weights), nil), refreshed, all, false},
		{"chosen, no device id", form, refreshed, none, false},
		{"chosen, ids of managed devices", form, refreshed, some, false},
		{"chosen, device id", form, refreshed, all, false},
		{"no tenant, no id", of(whole, func(p *production) { p.alone = true }), refreshed, none, false},
		{"no frequency, no id", of(ratios, nil), refreshed, none, false},
		{"no frequency, ids of managed", of(ratios, nil), refreshed, some, false},
		{"learns logins only, no id", form, interactive, none, false},
		{"learns logins only, managed", form, interactive, some, false},
		{"learns sessions too, no id", form, used, none, false},
		{"learns sessions too, managed", form, used, some, false},
		{"mobile addresses count, no id", form, refreshed, none, true},
		{"mobile addresses, managed", form, refreshed, some, true},
		{"agent is never copied, no id", model(func(m *familiarity.Model) {
			m.Imitation[familiarity.Agent], m.Imitation[familiarity.Browser] = 0.25, 0.25
			m.Imitation[familiarity.System], m.Imitation[familiarity.DeviceType] = 0.25, 0.25
		}), refreshed, none, false},
		{"versions cost more, no id", model(func(m *familiarity.Model) {
			m.Alpha[familiarity.Agent], m.Alpha[familiarity.Browser] = 1, 1
		}), refreshed, none, false},
		{"versions cost less, no id", model(func(m *familiarity.Model) {
			m.Alpha[familiarity.Agent], m.Alpha[familiarity.Browser] = 40, 40
		}), refreshed, none, false},
		{"alpha 3 of address, no id", model(func(m *familiarity.Model) { m.Alpha[familiarity.IP] = 3 }), refreshed, none, false},
		{"alpha 1/3 of address, no id", model(func(m *familiarity.Model) { m.Alpha[familiarity.IP] = 1. / 3 }), refreshed, none, false},
		{"alpha 3 of AS, country, no id", model(func(m *familiarity.Model) { m.Alpha[familiarity.ASN], m.Alpha[familiarity.Country] = 3, 3 }), refreshed, none, false},
		{"attacker knows nothing, no id", model(func(m *familiarity.Model) {
			m.Imitation = [familiarity.Levels]float64{familiarity.Country: 1, familiarity.DeviceType: 1, familiarity.DeviceID: 1}
		}), refreshed, none, false},
	}
	t.Logf("median re-authentication rate after 12 and 39 logins at TPR .99 (very targeted .83), mean after 39; TPR after 39 with"+
		" the thresholds of a target of %.0f %%", 100*studyTarget)
	for i := range variants {
		t.Log(line(&variants[i], companies[:]))
	}
	t.Log("thresholds that are fixed: TPR after 12 and 39 logins, and the mean re-authentication rate of the first 39")
	for _, v := range variants {
		if strings.HasPrefix(v.name, "chosen") {
			t.Log(fixed(&v, companies[:]))
		}
	}
}

// line is the mean over the companies.
func line(v *variant, companies [][]heard) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%-31s", v.name)
	var results []studied
	for _, c := range companies {
		results = append(results, replay(c, v))
	}
	for k := range company.Statistical {
		tpr := 0.99
		if k == len(company.Statistical)-1 {
			tpr = 0.8276
		}
		var median [2]float64
		mean, caught, tried := 0.0, 0, 0
		for i := range results {
			for j, h := range []int{12, 39} {
				sample := results[i].curve.Sample(k, h)
				rate, ok := sample.AtTPR(tpr)
				if !ok {
					rate.Rate, rate.Mean = math.NaN(), math.NaN()
				}
				median[j] += rate.Rate / float64(len(results))
				if h == 39 {
					mean += rate.Mean / float64(len(results))
				}
			}
			caught, tried = caught+results[i].caught[k], tried+results[i].tried
		}
		fmt.Fprintf(&text, " | %.3f %.3f %.4f %.3f", median[0], median[1], mean, float64(caught)/float64(max(tried, 1)))
	}
	flagged, logins := map[company.Confounder]int{}, map[company.Confounder]int{}
	for _, r := range results {
		for c, n := range r.logins {
			logins[c] += n
			flagged[c] += r.flagged[c]
		}
	}
	for _, c := range slices.Sorted(maps.Keys(logins)) {
		fmt.Fprintf(&text, " %s %d/%d", c, flagged[c], logins[c])
	}
	return text.String()
}

// fixed is what thresholds without learning lead to.
func fixed(v *variant, companies [][]heard) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%-31s", v.name)
	results := make([]studied, len(companies))
	for i, c := range companies {
		results[i] = replay(c, v)
	}
	for _, threshold := range []float64{2, 4, 6, 8, 10} {
		fmt.Fprintf(&text, " | %g:", threshold)
		asked := 0.0
		for k := range company.Statistical {
			var tpr [2]float64
			for i := range results {
				for j, h := range []int{12, 39} {
					sample := results[i].curve.Sample(k, h)
					rate := sample.At(threshold)
					tpr[j] += rate.TPR / float64(len(results))
					if k == 0 && h == 39 {
						asked += rate.Mean / float64(len(results))
					}
				}
			}
			fmt.Fprintf(&text, " %.3f %.3f", tpr[0], tpr[1])
		}
		fmt.Fprintf(&text, " asks %.4f", asked)
	}
	return text.String()
}
