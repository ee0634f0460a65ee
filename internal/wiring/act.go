package wiring

import (
	"fmt"

	"github.com/countersign-io/countersign/internal/act"
	"github.com/countersign-io/countersign/internal/lifecycle"
	"github.com/countersign-io/countersign/internal/stream"
)

// AddAct adds the actions at the source. Without configured ones it does nothing.
func (p *Process) AddAct() error {
	a, err := p.Actions()
	if err != nil {
		return err
	}
	p.Add(lifecycle.Service{Name: "act", Run: a.Run})
	return nil
}

// Actions are the configured actions at the source, for those who run or replay them.
func (p *Process) Actions() (*act.Runner, error) {
	a, err := act.New(p.Config.Act, act.Deps{
		Log: p.Cluster, Publisher: p.Cluster.Publisher(stream.PublisherConfig{}), Logger: p.Log.Named("act"), Registerer: p.Metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("act: %w", err)
	}
	return a, nil
}
