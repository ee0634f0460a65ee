package eval

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/eval/report"
	"github.com/countersign-io/countersign/internal/events"
)

// Options say what is measured.
type Options struct {
	Seed  uint64
	Users int
	Days  int
	// AttacksPerDay is how many incidents begin on a day, on average; 0 is what [company.EvalConfig] has.
	AttacksPerDay float64
	// Rounds of the bootstrap behind confidence intervals.
	Rounds int
	// CodeVersion is written into the report.
	CodeVersion string
	// Progress, when set, is told how far a phase is, between 0 and 1.
	Progress func(phase string, done float64)
}

// DefaultOptions are the size at which figures are reported. The seed is the caller's to choose.
func DefaultOptions() Options { return Options{Seed: 1, Users: 20_000, Days: 60, Rounds: 200} }

// The limits of a run. With fewer days than the quiet ones nobody would be attacked.
const (
	minDays  = quietDays + 4
	maxDays  = 400
	maxUsers = 1_000_000
	// quietDays have no attacks, so that detectors can learn.
	quietDays = 14
)

// Validate reports every problem.
func (o *Options) Validate() error {
	var problems []error
	if o.Users < 1 || o.Users > maxUsers {
		problems = append(problems, fmt.Errorf("users: is %d, must be between 1 and %d", o.Users, maxUsers))
	}
	if o.Days < minDays || o.Days > maxDays {
		problems = append(problems, fmt.Errorf("days: is %d, must be between %d and %d", o.Days, minDays, maxDays))
	}
	if !(o.AttacksPerDay >= 0 && o.AttacksPerDay <= 10_000) {
		problems = append(problems, fmt.Errorf("attacks_per_day: is %g, must be between 0 and 10000", o.AttacksPerDay))
	}
	if o.Rounds < 0 || o.Rounds > 10_000 {
		problems = append(problems, fmt.Errorf("rounds: is %d, must be between 0 and 10000", o.Rounds))
	}
	return errors.Join(problems...)
}

// company is the simulated company of a run.
func (o *Options) company(users int) company.Config {
	c := company.EvalConfig(users)
	c.Seed, c.Days, c.QuietDays, c.Ingested = o.Seed, o.Days, quietDays, true
	if o.AttacksPerDay > 0 {
		c.AttacksPerDay = o.AttacksPerDay * float64(users) / float64(o.Users)
	}
	return c
}

// rules are what ships: every detection and policy, and the network stage, as they are without a configuration.
func rules() (detector.Rules, error) { return detector.LoadRules(detector.DefaultConfig()) }

// Run measures everything and returns the report.
func Run(ctx context.Context, o Options) (*report.Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	rules, err := rules()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	r := &report.Report{
		Seed: o.Seed, Tuning: o.Seed >= 1 && o.Seed <= 5, Users: o.Users, Days: o.Days, Code: o.CodeVersion, Rules: rules.Version(),
		Hardware: hardware(),
	}
	main, err := play(ctx, o.company(o.Users), rules, extent{score: true, answers: true}, o.phase("stream"))
	if err != nil {
		return nil, err
	}
	main.fill(r, o)
	byHand, err := laws(rules)
	if err != nil {
		return nil, err
	}
	r.Laws = append(byHand, r.Laws...)
	if r.Robustness, err = robustness(ctx, o, rules); err != nil {
		return nil, err
	}
	r.Seconds = time.Since(began).Seconds()
	r.Conclude()
	return r, nil
}

func (o *Options) phase(name string) func(float64) {
	return func(done float64) {
		if o.Progress != nil {
			o.Progress(name, done)
		}
	}
}

// robustness plays a smaller company with the usual faults of the stream, with none and with many, and with people who leave
// challenges unanswered. The runs differ in nothing else.
func robustness(ctx context.Context, o Options, rules detector.Rules) ([]report.Robustness, error) {
	users := min(o.Users, max(1000, o.Users/5))
	conditions := []struct {
		name   string
		adjust func(*company.Config)
		extent extent
	}{
		{report.AsReported, func(*company.Config) {}, extent{answers: true}},
		{report.NoFaults, func(c *company.Config) { c.Faults = company.Faults{} }, extent{answers: true}},
		{report.MoreFaults, func(c *company.Config) {
			c.Faults = company.Faults{Late: 0.3, Duplicate: 0.05, MissingPlace: 0.2, Skewed: 0.3}
		}, extent{answers: true}},
		{report.Unanswered, func(*company.Config) {}, extent{}},
	}
	rows := make([]report.Robustness, len(conditions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for i, c := range conditions {
		progress := func(float64) {}
		if i == len(conditions)-1 {
			progress = o.phase("conditions")
		}
		group.Go(func() error {
			config := o.company(users)
			c.adjust(&config)
			run, err := play(ctx, config, rules, c.extent, progress)
			if err != nil {
				return err
			}
			rows[i] = run.robustness()
			rows[i].Name, rows[i].Users = c.name, users
			return nil
		})
	}
	return rows, group.Wait()
}

// until is the end of a company's stream.
func until(c company.Config) events.Millis { return c.Start + events.Millis(c.Days)*events.Day }
