package wiring

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/countersign-io/countersign/internal/courier"
	"github.com/countersign-io/countersign/internal/lifecycle"
	"github.com/countersign-io/countersign/internal/outbound"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/ssf/dialect"
)

// Transmits reports whether there is a Shared Signals transmitter. Without one a courier tells people and acts only.
func (c Config) Transmits() bool {
	return c.SSF.BaseURL != "" || len(c.SSF.Tenants) > 0 || len(c.SSF.Clients) > 0
}

// CourierSections are the sections that a courier uses; an error when there is nothing for it to do.
func CourierSections(c Config) ([]string, error) {
	used := []string{"notify", "act"}
	switch {
	case c.Transmits():
		return append(used, "courier", "ssf", "signing_keys"), nil
	case len(c.Notify.Targets) == 0 && len(c.Act.Actions) == 0:
		return used, errors.New("nothing to do: configure ssf, notify or act")
	}
	return used, nil
}

// AddCouriers adds what a courier does of delivering, telling people and acting.
func (p *Process) AddCouriers() error {
	if p.Config.Transmits() {
		if _, err := p.AddCourier(nil); err != nil {
			return err
		}
	} else {
		p.Log.Info("no Shared Signals transmitter, alerts and actions only: ssf is not configured")
	}
	if err := p.AddNotify(); err != nil {
		return err
	}
	return p.AddAct()
}

// AddCourier adds the courier, which serves receivers of Shared Signals and delivers to them. It returns the part, for its
// address. listener may be nil: then it listens where its configuration says.
func (p *Process) AddCourier(listener net.Listener) (*courier.Courier, error) {
	log := p.Log.Named("courier")
	keys, err := set.OpenKeyring(p.Config.SigningKeys, log)
	if err != nil {
		return nil, fmt.Errorf("signing_keys: %w", err)
	}
	guard, err := outbound.NewGuard(p.Config.Courier.Outbound)
	if err != nil {
		return nil, fmt.Errorf("courier.outbound: %w", err)
	}
	client, err := outbound.New(p.Config.Courier.Outbound)
	if err != nil {
		return nil, fmt.Errorf("courier.outbound: %w", err)
	}
	cfg, receivers := p.Config.Courier, p.Config.SSF
	cfg.MinVerificationInterval, cfg.InactivityTimeout = receivers.MinVerificationInterval, receivers.InactivityTimeout
	cfg.PollSets = receivers.Limits.PollSets
	c, err := courier.New(cfg, courier.Deps{
		Cluster: p.Cluster, Listener: listener,
		Sign:      func(ctx context.Context, t *set.Token) (string, error) { return set.Sign(ctx, keys.Signer(), t) },
		Client:    client,
		Receiver:  receivers.Receiver,
		NewStream: func(body []byte) (ssf.Stream, error) { return receivers.NewStream(body, guard.CheckURL) },
		Handler: func(registry ssf.Registry, forward courier.Forward) (http.Handler, error) {
			h, err := ssf.New(receivers, ssf.Deps{
				Registry: registry, Forward: forward,
				Keys:       func(string) ([]byte, string) { return keys.JWKS() },
				KeysMaxAge: p.Config.SigningKeys.JWKSMaxAge,
				Supported:  dialect.Supported, Delivered: dialect.Delivered, CheckURL: guard.CheckURL,
				Logger: p.Log.Named("ssf"), Registerer: p.Metrics,
			})
			if err != nil {
				return nil, fmt.Errorf("ssf: %w", err)
			}
			return h, nil
		},
		Logger: log, Registerer: p.Metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("courier: %w", err)
	}
	p.Add(lifecycle.Service{Name: "signing keys", Run: keys.Run})
	p.ready = append(p.ready, named("courier", c.Ready))
	p.Add(service("courier", c.Run, c.Addr))
	return c, nil
}
