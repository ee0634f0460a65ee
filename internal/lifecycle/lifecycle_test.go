package lifecycle

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestServicesStartInOrderAndStopInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var log []string
		service := func(name string) Service {
			ready := make(chan struct{})
			return Service{
				Name: name,
				Run: func(ctx context.Context) error {
					log = append(log, "start "+name)
					close(ready)
					<-ctx.Done()
					log = append(log, "stop "+name)
					return nil
				},
				Ready: func(context.Context) error { <-ready; return nil },
			}
		}
		if err := Run(ctx, time.Second, cancel, service("broker"), service("detector"), service("api")); err != nil {
			t.Error(err)
		}
		want := []string{"start broker", "start detector", "start api", "stop api", "stop detector", "stop broker"}
		if diff := cmp.Diff(log, want); diff != "" {
			t.Errorf("(-got, +want)\n%s", diff)
		}
	})
}

func TestOneFailureStopsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom, stopped := errors.New("boom"), false
		err := Run(t.Context(), time.Second, nil,
			Service{Name: "broker", Run: func(ctx context.Context) error { <-ctx.Done(); stopped = true; return nil }},
			Service{Name: "detector", Run: func(context.Context) error { return boom }},
		)
		if !errors.Is(err, boom) || !strings.Contains(err.Error(), "detector: ") || !stopped {
			t.Errorf("err %v, broker stopped %v", err, stopped)
		}
	})
}

func TestAServiceThatNeverGetsReadyStopsTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := errors.New("no answer")
		later := false
		err := Run(t.Context(), time.Second, func() { t.Error("reported as started") },
			Service{
				Name: "engine", Run: func(ctx context.Context) error { <-ctx.Done(); return nil },
				Ready: func(context.Context) error { return slow },
			},
			Service{Name: "api", Run: func(ctx context.Context) error { later = true; <-ctx.Done(); return nil }},
		)
		if !errors.Is(err, slow) || later {
			t.Errorf("err %v, later service started %v", err, later)
		}
	})
}

func TestAStuckServiceIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		err := Run(ctx, time.Second, cancel, Service{Name: "archiver", Run: func(context.Context) error { <-release; return nil }})
		close(release)
		if !errors.Is(err, ErrStuck) || !strings.Contains(err.Error(), "archiver: ") {
			t.Errorf("err %v", err)
		}
	})
}
