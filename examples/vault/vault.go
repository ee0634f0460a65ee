// Package vault is a second application of the bank: a store of documents, of another team, behind the same identity
// provider. It subscribes by Shared Signals push, knows nothing of Kafka, and asks for a second proof when the bank does.
package vault

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/examples/bank/access"
	"github.com/countersign-io/countersign/examples/bank/idp"
	"github.com/countersign-io/countersign/stepup"
	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

// Config configures a [Vault].
type Config struct {
	// Listener is where Run serves, by TLS with Certificate. The vault closes it.
	Listener    net.Listener
	Certificate tls.Certificate
	// Issuer is the identity provider's, JWKSURL where its keys are, Audience what access tokens must be for.
	Issuer, JWKSURL, Audience string
	// Signals is the stream to subscribe to. PushURL and Delivery are the vault's to say.
	Signals stepupssf.Config
	// Receipts may be nil.
	Receipts stepup.Receipts
	// Logger is told what is wrong; nil is fine.
	Logger *slog.Logger
}

// Vault is the application.
type Vault struct {
	cfg      Config
	index    *stepup.Index
	keys     *access.Keys
	receiver *stepupssf.Receiver
	handler  http.Handler
}

// pushPath is where the transmitter posts.
const pushPath = "/signals"

// New puts a vault together. It opens no connection; Run does.
func New(cfg Config) (*Vault, error) {
	if cfg.Listener == nil || cfg.JWKSURL == "" {
		return nil, errors.New("vault: Listener and JWKSURL must be given")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	v := &Vault{cfg: cfg, keys: access.NewKeys(cfg.JWKSURL)}
	var err error
	v.index, err = stepup.NewIndex(stepup.IndexConfig{MaxStaleness: time.Minute})
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	signals := cfg.Signals
	signals.Delivery, signals.PushURL, signals.Logger = stepupssf.Push, v.URL()+pushPath, cfg.Logger
	if v.receiver, err = stepupssf.New(signals, v.index); err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	guard, err := stepup.New(stepup.Config{
		Index: v.index, Stale: stepup.FailClosed, App: "vault", Receipts: cfg.Receipts, Logger: cfg.Logger,
		Ranking:  stepup.Ranking{idp.Password, idp.MultiFactor, idp.PhishingResistant},
		Identify: func(r *http.Request) (stepup.Token, error) { return v.keys.Bearer(r, cfg.Issuer, cfg.Audience) },
	})
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	api := http.NewServeMux()
	api.Handle("GET /api/documents", stepup.Require(stepup.Proof{MaxAge: time.Hour})(http.HandlerFunc(documents)))
	mux := http.NewServeMux()
	mux.Handle("POST "+pushPath, v.receiver)
	mux.HandleFunc("GET /{$}", greet)
	mux.Handle("/", guard.Middleware(api))
	v.handler = mux
	return v, nil
}

// URL is where the vault is.
func (v *Vault) URL() string { return "https://" + v.cfg.Listener.Addr().String() }

// Fresh reports whether the vault hears its transmitter; while it does not it lets nobody in.
func (v *Vault) Fresh() bool {
	_, fresh := v.index.Fresh()
	return fresh
}

// greet says what this is to whoever looks.
func greet(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "This is the sample vault, an API without pages: GET /api/documents with an access token of the sample bank lists the caller's documents.\n")
}

// documents lists what the caller has put there.
func documents(w http.ResponseWriter, r *http.Request) {
	t, _ := stepup.FromContext(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	// An answer that cannot be written has nobody to be told.
	_ = json.NewEncoder(w).Encode(map[string]any{"owner": t.User, "documents": []string{"deed.pdf", "will.pdf"}})
}

// Run serves and keeps the subscription until ctx ends, and returns nil then.
func (v *Vault) Run(ctx context.Context) error {
	server := &http.Server{
		Handler: v.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10, BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog: slog.NewLogLogger(v.cfg.Logger.Handler(), slog.LevelDebug),
	}
	listener := tls.NewListener(v.cfg.Listener, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{v.cfg.Certificate}})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving the vault: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			return errors.Join(fmt.Errorf("stopping the vault: %w", err), server.Close())
		}
		return nil
	})
	group.Go(func() error { return v.receiver.Run(ctx) })
	return group.Wait()
}
