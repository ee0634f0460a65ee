package wiring

import (
	"context"
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
