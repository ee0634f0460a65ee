// Package lifecycle runs the parts of a process: started in order, stopped in reverse, every wait bounded.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Service is one named part of a process.
type Service struct {
	Name string
	// Run blocks until its context ends and then returns nil, or returns an error when it cannot go on.
	Run func(ctx context.Context) error
	// Ready, when set, blocks until the service serves; the next one starts only then.
	Ready func(ctx context.Context) error
}

// ErrStuck is returned for a service that did not stop in time.
var ErrStuck = errors.New("did not stop in time")

type running struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// Run starts the services in order, each after the one before is ready, and calls started once all are. When ctx ends,
// or a service returns, all are stopped in reverse order, each given drain to finish. It returns nil when ctx ended and
// every service stopped cleanly, otherwise every error, each with its service's name.
func Run(ctx context.Context, drain time.Duration, started func(), services ...Service) error {
	stopping, stop := context.WithCancel(ctx)
	defer stop()
	var stack []*running
	for _, s := range services {
		// A service lives until its turn in the shutdown, so its context does not end with ctx.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{name: s.Name, cancel: cancel, done: make(chan struct{})}
		stack = append(stack, r)
		go func() {
			defer close(r.done)
			defer stop()
			r.err = s.Run(own)
			if r.err == nil && own.Err() == nil {
				r.err = errors.New("stopped by itself")
			}
		}()
		if s.Ready == nil {
			continue
		}
		if err := s.Ready(stopping); err != nil {
			// When the service itself failed, or a person stopped the process, the wait's own error says nothing new.
			if stopping.Err() == nil {
				r.cancel()
				<-r.done
				r.err = errors.Join(r.err, fmt.Errorf("waiting until it is ready: %w", err))
			}
			break
		}
	}
	if len(stack) == len(services) && stopping.Err() == nil {
		if started != nil {
			started()
		}
		<-stopping.Done()
	}
	return unwind(stack, drain)
}

func unwind(stack []*running, drain time.Duration) error {
	var errs []error
	for _, r := range slices.Backward(stack) {

		r.cancel()
		timer := time.NewTimer(drain)
		select {
		case <-r.done:
			if r.err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", r.name, r.err))
			}
		case <-timer.C:
			errs = append(errs, fmt.Errorf("%s: %w (%s)", r.name, ErrStuck, drain))
		}
		timer.Stop()
	}
	return errors.Join(errs...)
}
