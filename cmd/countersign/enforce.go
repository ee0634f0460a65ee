package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/enforce"
	"github.com/countersign-io/countersign/internal/lifecycle"
	"github.com/countersign-io/countersign/internal/telemetry"
	"github.com/countersign-io/countersign/internal/wiring"
	"github.com/countersign-io/countersign/stepup"
	stepupkafka "github.com/countersign-io/countersign/stepup/kafka"
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
			return runEnforce(c.Context(), cfg)
		},
	}
	c.Flags().StringVar(&file, "config", "enforce.yaml", "configuration file (YAML); the environment overrides it")
	c.Flags().BoolVar(&check, "check", false, "check the configuration and exit")
	return c
}

// runEnforce runs the service until ctx ends.
func runEnforce(ctx context.Context, cfg enforce.Config) error {
	log, err := telemetry.Logger(cfg.Telemetry)
	if err != nil {
		return err
	}
	log = log.Named("enforce")
	index, err := stepup.NewIndex(stepup.IndexConfig{MaxOpen: cfg.MaxOpen, MaxStaleness: cfg.MaxStaleness})
	if err != nil {
		return err
	}
	feed, err := kafkaFeed(cfg, index, log)
	if err != nil {
		return err
	}
	deps := enforce.Deps{Index: index, Receipts: feed.Receipts(), Logger: log}
	services := []lifecycle.Service{{Name: "feed", Run: feed.Run}}
	if r := cfg.Receipts; r.URL != "" {
		sender, err := stepup.NewReceiptSender(stepup.ReceiptConfig{
			URL: r.URL, PlainHTTP: r.PlainHTTP, TokenFile: r.TokenFile, App: cfg.App, OnError: complaint(log, "sending receipts"),
		})
		if err != nil {
			return fmt.Errorf("receipts: %w", err)
		}
		deps.Receipts = sender
		services = append(services, lifecycle.Service{Name: "receipts", Run: sender.Run})
	}
	if r := cfg.Sessions; r.URL != "" {
		if deps.Observer, err = stepup.NewObserver(stepup.ObserverConfig{
			URL: r.URL, PlainHTTP: r.PlainHTTP, TokenFile: r.TokenFile, App: cfg.App, OnError: complaint(log, "reporting sessions"),
		}); err != nil {
			return fmt.Errorf("sessions: %w", err)
		}
		services = append(services, lifecycle.Service{Name: "sessions", Run: deps.Observer.Run})
	}
	registry := telemetry.Registry()
	deps.Registerer = registry
	server, err := enforce.New(cfg, deps)
	if err != nil {
		return err
	}
	if cfg.Telemetry.Listen != "" {
		health := telemetry.NewServer(cfg.Telemetry.Listen, registry, server.Ready)
		services = append([]lifecycle.Service{listening("telemetry", health.Run, health.Addr)}, services...)
	}
	services = append(services, listening("enforce", server.Run, server.Addr))
	return lifecycle.Run(ctx, wiring.Drain, func() {
		addr, _ := server.Addr(ctx) // it listens
		log.Info("running", zap.String("address", addr))
	}, services...)
}

// kafkaFeed fills the index from Kafka.
func kafkaFeed(cfg enforce.Config, index *stepup.Index, log *zap.Logger) (*stepupkafka.Subscriber, error) {
	conf := stepupkafka.Config{Brokers: cfg.Kafka.Brokers, ClientID: "enforce", Logger: enforce.Logger(log.Named("feed"))}
	if cfg.Receipts.URL == "" {
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
