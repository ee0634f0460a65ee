// Package standalone runs all of countersign in one process, with an embedded broker and an embedded ClickHouse, for a
// laptop or a trial. It is made of the same parts as the services.
package standalone

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/api"
	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/courier"
	"github.com/countersign-io/countersign/internal/embedded/broker"
	"github.com/countersign-io/countersign/internal/embedded/engine"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/peer"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/wiring"
)

// Config says where data is kept and where the parts listen.
type Config struct {
	// DataDir holds everything: log, history, tokens.
	DataDir string
	// KafkaPort is the broker's port on loopback, APIListen and IngestListen are addresses; 0 ports are any free ones.
	KafkaPort    int
	APIListen    string
	IngestListen string
	// CourierListen is where receivers of Shared Signals are served, by TLS. Tenants are those that have an issuer there.
	CourierListen string
	Tenants       []string
	// MetricsListen is where metrics are served; empty serves none.
	MetricsListen string
	// Assets is where `make assets` has put the geo databases; empty looks for them.
	Assets string
	// File is a configuration file (YAML) whose sections go over those of a standalone, such as notify and act; empty is none.
	File string
	// PolicyFile is the policy in force, read anew when it changes; empty means the one that ships.
	PolicyFile string
}

// Standalone is everything, built and not yet running.
type Standalone struct {
	Process *wiring.Process
	Broker  *broker.Broker
	Engine  *engine.Engine
	API     *api.API
	Ingest  *ingest.Server
	Courier *courier.Courier
	// SignalsURL is the courier's; a tenant's issuer is below it. CertFile and KeyFile are the certificate of this machine's
	// own, by which the courier is served.
	SignalsURL        string
	CertFile, KeyFile string
	signals           net.Listener
	// IngestToken and DemoToken are files with the bearer tokens of ingest: for records of people, and for simulated ones,
	// which bring their own places.
	IngestToken, DemoToken string
	// ReceiverSecret is the file with the secret of the OAuth clients, one a tenant (see [ReceiverClient]), OperatorToken
	// that with the token of operators.
	ReceiverSecret, OperatorToken string
}

// ReceiverClient is the id of a tenant's OAuth client, whose secret is in Standalone.ReceiverSecret.
func ReceiverClient(tenant string) string { return "app." + tenant }

// Open starts broker and engine, and builds the parts. Close ends what Open started.
func Open(ctx context.Context, cfg Config, log *zap.Logger) (*Standalone, error) {
	s := &Standalone{
		IngestToken: filepath.Join(cfg.DataDir, "ingest.token"), DemoToken: filepath.Join(cfg.DataDir, "demo.token"),
		ReceiverSecret: filepath.Join(cfg.DataDir, "receiver.secret"), OperatorToken: filepath.Join(cfg.DataDir, "operator.token"),
	}
	err := s.open(ctx, cfg, log)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Standalone) open(ctx context.Context, cfg Config, log *zap.Logger) error {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	pushSecrets := filepath.Join(cfg.DataDir, "push-secrets.key")
	for _, file := range []string{s.IngestToken, s.DemoToken, s.ReceiverSecret, s.OperatorToken, pushSecrets} {
		if err := EnsureToken(file, ""); err != nil {
			return err
		}
	}
	engineMetrics := prometheus.NewRegistry() // the process has none yet
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		s.Broker, err = broker.Start(broker.Config{DataDir: filepath.Join(cfg.DataDir, "broker"), Port: cfg.KafkaPort, Logger: log.Named("broker")})
		return err
	})
	group.Go(func() (err error) {
		conf := engine.DefaultConfig()
		conf.DataDir = filepath.Join(cfg.DataDir, "clickhouse")
		s.Engine, err = engine.Start(groupCtx, conf, engine.Deps{Logger: log.Named("engine"), Registerer: engineMetrics})
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	conf := wiring.DefaultConfig()
	conf.Kafka.Brokers = []string{s.Broker.Addr()}
	conf.ClickHouse.URLs, conf.ClickHouse.User, conf.ClickHouse.Password = []string{"http://" + s.Engine.Addr()}, engine.User, s.Engine.Key()
	conf.Telemetry.Listen = cfg.MetricsListen
	conf.API.Listen, conf.Ingest.Listen = cfg.APIListen, cfg.IngestListen
	// Few readers want the newest rows soon.
	conf.Archiver.FlushInterval = 500 * time.Millisecond
	conf.Detector.SessionTimeout = 6 * time.Second
	conf.Detector.PolicyFile = cfg.PolicyFile
	conf.API.Ingest.TokenFile = s.IngestToken
	conf.Ingest.Tokens = []ingest.TokenConfig{
		{File: s.IngestToken, Source: "push", Tenants: []string{"*"}, Formats: []string{"*"}},
		{File: s.DemoToken, Source: "demo", Tenants: []string{"*"}, TrustedPlaces: true},
	}
	assets := cfg.Assets
	if assets == "" {
		assets = AssetsDir()
	}
	conf.Geo.City, conf.Geo.ASN = geo.Find(assets)
	conf.Geo.MaxAge = 0 // they are pinned: nobody at a laptop can do anything about their age
	err := s.prepareSignals(ctx, cfg, &conf, pushSecrets)
	if err != nil {
		return err
	}
	if cfg.File != "" {
		if conf, err = config.Load(conf, cfg.File, nil); err != nil {
			return fmt.Errorf("the configuration has problems:\n%w", err)
		}
	}
	if s.Process, err = wiring.Open(conf, log); err != nil {
		return err
	}
	if err := s.Process.Metrics.Register(engineMetrics); err != nil {
		return fmt.Errorf("registering the engine's metrics: %w", err)
	}
	s.Process.AddTopics()
	if err := s.Process.AddArchiver(); err != nil {
		return err
	}
	if err := s.Process.AddDetector(); err != nil {
		return err
	}
	if s.API, err = s.Process.AddAPI(); err != nil {
		return err
	}
	if s.Ingest, err = s.Process.AddIngest(nil); err != nil {
		return err
	}
	if s.Courier, err = s.Process.AddCourier(s.signals); err != nil {
		return err
	}
	if err := s.Process.AddNotify(); err != nil {
		return err
	}
	return s.Process.AddAct()
}

// prepareSignals sets up the courier: its address, which is part of what it tells receivers, its certificate, keys and receivers.
func (s *Standalone) prepareSignals(ctx context.Context, cfg Config, conf *wiring.Config, pushSecrets string) error {
	keys := filepath.Join(cfg.DataDir, "signing-keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return fmt.Errorf("making the directory of signing keys: %w", err)
	}
	found, err := set.ListKeys(keys, time.Now(), 0)
	if err != nil {
		return fmt.Errorf("reading the signing keys: %w", err)
	}
	if len(found) == 0 {
		if _, _, err := set.NewKeyFile(keys, time.Now()); err != nil {
			return fmt.Errorf("making a signing key: %w", err)
		}
	}
	if s.CertFile, s.KeyFile, err = certificate(cfg.DataDir, time.Now()); err != nil {
		return err
	}
	if s.signals, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.CourierListen); err != nil {
		return fmt.Errorf("listening for receivers: %w", err)
	}
	s.SignalsURL = "https://" + s.signals.Addr().String()
	conf.SigningKeys.Directory = keys
	conf.API.Courier = peer.Config{URL: s.SignalsURL, TokenFile: s.OperatorToken, CAFile: s.CertFile}
	c := &conf.Courier
	c.TLSCertFile, c.TLSKeyFile, c.PeerCAFile, c.SecretsKeyFile = s.CertFile, s.KeyFile, s.CertFile, pushSecrets
	c.OperatorTokens = []courier.OperatorToken{{Name: "operator", File: s.OperatorToken}}
	c.SessionTimeout = 6 * time.Second
	// Receivers on this machine are what it is for.
	c.Outbound.AllowNetworks, c.Outbound.CAFile = []string{"127.0.0.0/8", "::1/128"}, s.CertFile
	conf.SSF.BaseURL = s.SignalsURL
	for _, tenant := range cfg.Tenants {
		conf.SSF.Tenants = append(conf.SSF.Tenants, ssf.Tenant{Name: tenant})
		conf.SSF.Clients = append(conf.SSF.Clients, ssf.Client{
			ID: ReceiverClient(tenant), SecretFile: s.ReceiverSecret, Tenant: tenant, Audience: []string{s.SignalsURL + "/receivers/" + tenant},
		})
	}
	return nil
}

// Close stops the engine and the broker, in that order. The parts must have stopped.
func (s *Standalone) Close() error {
	var errs []error
	if s.signals != nil {
		_ = s.signals.Close() // the courier has closed it, unless it never ran
	}
	if s.Engine != nil {
		errs = append(errs, s.Engine.Close())
	}
	if s.Broker != nil {
		errs = append(errs, s.Broker.Close())
	}
	return errors.Join(errs...)
}

// EnsureToken makes a random token, once: a line in a file, behind prefix.
func EnsureToken(file, prefix string) error {
	if _, err := os.Stat(file); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(file, []byte(prefix+rand.Text()+rand.Text()+"\n"), 0o600); err != nil {
		return fmt.Errorf("making a token: %w", err)
	}
	return nil
}

// AssetsDir is the nearest .cache/assets above the working directory or the program, where `make assets` installs; "" when
// there is none.
func AssetsDir() string {
	starts := []string{}
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for {
			candidate := filepath.Join(dir, ".cache", "assets")
			if info, err := os.Stat(candidate); err == nil && info.IsDir() {
				return candidate
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return ""
}
