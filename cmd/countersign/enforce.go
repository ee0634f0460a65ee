package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/enforce"
	"github.com/countersign-io/countersign/internal/lifecycle"
	"github.com/countersign-io/countersign/internal/telemetry"
	"github.com/countersign-io/countersign/internal/wiring"
	"github.com/countersign-io/countersign/stepup"
	stepupkafka "github.com/countersign-io/countersign/stepup/kafka"
	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

func enforceCommand() *cobra.Command {
	var file string
	var check bool
	c := &cobra.Command{
		Use: "enforce", Short: "Answer nginx, Traefik and Envoy whether a request may pass, for apps in any language", Args: cobra.NoArgs,
		Long: "Answer proxies that ask whether a request may pass: nginx (auth_request), Traefik (ForwardAuth), Envoy (ext_authz over\n" +
			"HTTP). The configuration is a file of its own; docs/apps.md has one, and the proxies' side of it.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(enforce.DefaultConfig(), file, os.Environ())
			if err != nil {
				return fmt.Errorf("the configuration has problems:\n%w", err)
			}
			if check {
				fmt.Fprintln(c.OutOrStdout(), "the configuration is good")
				return nil
			}
			return runEnforce(c.Context(), cfg, nil)
		},
	}
	c.Flags().StringVar(&file, "config", "enforce.yaml", "configuration file (YAML); the environment overrides it")
	c.Flags().BoolVar(&check, "check", false, "check the configuration and exit")
	return c
}

// runEnforce runs the service until ctx ends. started is called once it serves, with its addresses; it may be nil.
func runEnforce(ctx context.Context, cfg enforce.Config, started func(server, health string)) (err error) {
	log, err := telemetry.Logger(cfg.Telemetry)
	if err != nil {
		return err
	}
	log = log.Named("enforce")
	index, err := stepup.NewIndex(stepup.IndexConfig{MaxOpen: cfg.MaxOpen, MaxStaleness: cfg.Staleness()})
	if err != nil {
		return err
	}
	registry := telemetry.Registry()
	deps := enforce.Deps{Index: index, Logger: log, Registerer: registry}
	var stats enforce.Stats
	var services []lifecycle.Service
	if r := cfg.Receipts; r.URL != "" {
		sender, err := stepup.NewReceiptSender(stepup.ReceiptConfig{
			URL: r.URL, PlainHTTP: r.PlainHTTP, TokenFile: r.TokenFile, App: cfg.App, OnError: complaint(log, "sending receipts"),
		})
		if err != nil {
			return fmt.Errorf("receipts: %w", err)
		}
		deps.Receipts, stats.Receipts = sender, sender.Stats
		services = append(services, lifecycle.Service{Name: "receipts", Run: sender.Run})
	}
	if r := cfg.Sessions; r.URL != "" {
		if deps.Observer, err = stepup.NewObserver(stepup.ObserverConfig{
			URL: r.URL, PlainHTTP: r.PlainHTTP, TokenFile: r.TokenFile, App: cfg.App, OnError: complaint(log, "reporting sessions"),
		}); err != nil {
			return fmt.Errorf("sessions: %w", err)
		}
		stats.Sessions = deps.Observer.Stats
		services = append(services, lifecycle.Service{Name: "sessions", Run: deps.Observer.Run})
	}
	feed := lifecycle.Service{Name: "feed"}
	if len(cfg.Kafka.Brokers) > 0 {
		subscriber, err := kafkaFeed(cfg, index, deps.Receipts, log)
		if err != nil {
			return err
		}
		if deps.Receipts == nil {
			deps.Receipts = subscriber.Receipts()
		}
		feed.Run, stats.Kafka = subscriber.Run, subscriber.Stats
	} else {
		receiver, store, failed := ssfFeed(cfg, index, deps.Receipts, log)
		if failed != nil {
			return failed
		}
		defer func() {
			if closing := store.Close(); closing != nil {
				err = errors.Join(err, fmt.Errorf("closing ssf.store: %w", closing))
			}
		}()
		feed.Run, stats.SSF = receiver.Run, receiver.Stats
	}
	if err := registry.Register(stats); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	server, err := enforce.New(cfg, deps)
	if err != nil {
		return err
	}
	health := telemetry.NewServer(cfg.Telemetry.Listen, registry, server.Ready)
	if cfg.Telemetry.Listen != "" {
		// First in, last out: health is told while the rest starts and stops.
		services = append([]lifecycle.Service{listening("telemetry", health.Run, health.Addr)}, services...)
	}
	services = append(services, feed, listening("enforce", server.Run, server.Addr))
	return lifecycle.Run(ctx, wiring.Drain, func() {
		at, _ := server.Addr(ctx) // it listens
		healthAt := ""
		if cfg.Telemetry.Listen != "" {
			healthAt, _ = health.Addr(ctx)
		}
		log.Info("running", zap.String("address", at), zap.String("telemetry", healthAt))
		if started != nil {
			started(at, healthAt)
		}
	}, services...)
}

// kafkaFeed fills the index from Kafka. receipts is where receipts go; nil is to Kafka.
func kafkaFeed(cfg enforce.Config, index *stepup.Index, receipts stepup.Receipts, log *zap.Logger) (*stepupkafka.Subscriber, error) {
	conf := stepupkafka.Config{Brokers: cfg.Kafka.Brokers, ClientID: "enforce", SnapshotFile: cfg.Kafka.SnapshotFile, Logger: enforce.Logger(log.Named("feed"))}
	if receipts == nil {
		conf.App = cfg.App // else Kafka may be for reading only
	}
	if t := cfg.Kafka.TLS; t.Enabled {
		conf.TLS = &stepupkafka.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
	}
	if s := cfg.Kafka.SASL; s.Mechanism != "" {
		conf.SASL = &stepupkafka.SASL{Mechanism: s.Mechanism, Username: s.Username, PasswordFile: s.PasswordFile}
	}
	return stepupkafka.New(conf, index)
}

// ssfFeed fills the index from a stream of Shared Signals.
func ssfFeed(cfg enforce.Config, index *stepup.Index, receipts stepup.Receipts, log *zap.Logger) (*stepupssf.Receiver, *stepupssf.FileStore, error) {
	store, err := stepupssf.OpenStore(cfg.SSF.Store, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("ssf.store: %w", err)
	}
	conf := stepupssf.Config{
		SubjectIssuers: cfg.SSF.SubjectIssuers,
		Issuer:         cfg.SSF.Issuer, Delivery: stepupssf.Poll, Description: cfg.SSF.Description, Store: store, PlainHTTP: cfg.SSF.PlainHTTP,
		ClientCredentials: &stepupssf.ClientCredentials{
			TokenURL: cfg.SSF.TokenURL, ClientID: cfg.SSF.ClientID, ClientSecretFile: cfg.SSF.ClientSecretFile,
		},
		Logger: enforce.Logger(log.Named("feed")),
	}
	if cfg.SSF.CAFile != "" {
		pem, err := os.ReadFile(cfg.SSF.CAFile)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("ssf.ca_file: %w", err), store.Close())
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, nil, errors.Join(fmt.Errorf("ssf.ca_file: %s holds no certificate in PEM", cfg.SSF.CAFile), store.Close())
		}
		conf.HTTP = &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, Proxy: http.ProxyFromEnvironment,
		}}
	}
	if receipts != nil {
		conf.Applied = func(c stepup.Claims) {
			if r := &c.Requirement; c.Status == stepup.StatusOpen {
				receipts.Record(stepup.Receipt{
					Time: time.Now(), Subject: r.Subject, Requirement: r.ID, JTI: r.JTI, App: cfg.App, Status: stepup.Delivered,
				})
			}
		}
	}
	receiver, err := stepupssf.New(conf, index)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("ssf: %w", err), store.Close())
	}
	return receiver, store, nil
}

func complaint(log *zap.Logger, what string) func(error) {
	return func(err error) { log.Warn(what, zap.Error(err)) }
}

// listening is a service that is ready when it listens.
func listening(name string, run func(context.Context) error, addr func(context.Context) (string, error)) lifecycle.Service {
	return lifecycle.Service{Name: name, Run: run, Ready: func(ctx context.Context) error {
		_, err := addr(ctx)
		return err
	}}
}
