package wiring

import (
	"fmt"
	"os"
	"slices"

	"github.com/countersign-io/countersign/internal/lifecycle"
	"github.com/countersign-io/countersign/internal/notify"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/policy"
)

// AddNotify adds what tells people of incidents. Several processes may have it: they agree on who sends.
func (p *Process) AddNotify() error {
	owner, err := p.owners()
	if err != nil {
		return err
	}
	n, err := notify.New(p.Config.Notify, notify.Deps{Cluster: p.Cluster, Owner: owner, Logger: p.Log.Named("notify"), Registerer: p.Metrics})
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	p.Add(lifecycle.Service{Name: "notify", Run: n.Run})
	return nil
}

// owners are the teams that own the policies, as of the start; nil when no route asks for a team.
func (p *Process) owners() (func(string) string, error) {
	if !slices.ContainsFunc(p.Config.Notify.Routes, func(r incident.Route) bool { return len(r.Match.Teams) > 0 }) {
		return nil, nil //nolint:nilnil // nobody asks
	}
	set := policy.Default()
	if file := p.Config.Detector.PolicyFile; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("notify: reading the owners of policies: %w", err)
		}
		if set, err = policy.Load(text); err != nil {
			return nil, fmt.Errorf("notify: reading the owners of policies in %s: %w", file, err)
		}
	}
	teams := map[string]string{}
	for _, p := range set.Policies() {
		teams[p.Name] = p.Owner
	}
	return func(name string) string { return teams[name] }, nil
}
