package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/examples/bank/bank"
	"github.com/countersign-io/countersign/internal/demo"
	"github.com/countersign-io/countersign/internal/standalone"
	"github.com/countersign-io/countersign/internal/telemetry"
)

type upFlags struct {
	standalone.Config
	demo, check bool
	randomPorts bool
	live        demo.Config
	logLevel    string
}

func upCommand() *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use: "up", Short: "Run everything on this machine: broker, ClickHouse, ingest, detector, archiver, api, courier", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.randomPorts || f.check {
				f.takeAnyPorts()
			}
			if f.check {
				return f.runCheck(c.Context())
			}
			return f.run(c.Context(), time.Now(), f.announce, nil)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.DataDir, "data", "data", "directory of log, history and tokens")
	flags.IntVar(&f.KafkaPort, "kafka-port", 9092, "port of the broker on loopback, 0 for any free one")
	flags.StringVar(&f.APIListen, "api", "127.0.0.1:8080", "address of the dashboard and the API")
	flags.StringVar(&f.IngestListen, "ingest", "127.0.0.1:8081", "address of the HTTP ingest")
	flags.StringVar(&f.CourierListen, "courier", "127.0.0.1:8443", "address where receivers of Shared Signals are served")
	flags.StringSliceVar(&f.Tenants, "tenants", []string{"acme"}, "tenants whose decisions receivers may have")
	flags.StringVar(&f.MetricsListen, "metrics", "127.0.0.1:9464", "address of Prometheus metrics, empty for none")
	flags.BoolVar(&f.randomPorts, "random-ports", false, "let every part listen on any free port of loopback; issuers and streams of Shared Signals change with the ports at each start")
	flags.StringVar(&f.Assets, "assets", "", "directory of the geo databases (default: the nearest .cache/assets)")
	flags.StringVar(&f.File, "config", "", "configuration file (YAML) whose sections go over the built-in ones, such as notify and act")
	flags.StringVar(&f.PolicyFile, "policy", "", "policy file, read anew when it changes (default: the policies that ship)")
	flags.StringVar(&f.logLevel, "log-level", "warn", "debug, info, warn or error")
	flags.BoolVar(&f.demo, "demo", false, "add the simulated company and the sample bank")
	flags.BoolVar(&f.check, "check", false, "with --demo: attack the bank, see the challenge and its end, print one JSON line, exit; free ports and a temporary directory, whatever --data says")
	flags.StringVar(&f.live.BankListen, "bank", "127.0.0.1:8082", "with --demo: address of the sample bank")
	flags.StringVar(&f.live.VaultListen, "vault", "127.0.0.1:8444", "with --demo: address of the sample vault, which subscribes by Shared Signals")
	flags.IntVar(&f.live.Users, "users", 500, "with --demo: people in the simulated company")
	flags.IntVar(&f.live.History, "history", 15, "with --demo: days of the company's life to send first")
	flags.Float64Var(&f.live.Speed, "speed", 60, "with --demo: how fast the last six hours of these days pass")
	flags.DurationVar(&f.live.AttackEvery, "attack-every", 20*time.Second, "with --demo: pause between attacks on the company")
	return c
}

// run runs everything until ctx ends. started is called once it does, then work, if any, whose end ends the run.
func (f *upFlags) run(ctx context.Context, began time.Time, started func(*standalone.Standalone, *demo.Demo, time.Duration),
	work func(context.Context, *standalone.Standalone, *demo.Demo) error,
) error {
	log, err := telemetry.Logger(telemetry.Config{LogLevel: f.logLevel, LogFormat: "console"})
	if err != nil {
		return err
	}
	s, err := standalone.Open(ctx, f.Config, log)
	if err != nil {
		return err
	}
	var d *demo.Demo
	if f.demo {
		f.live.DataDir = f.DataDir
		if d, err = demo.Add(s, f.live); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	err = s.Process.Run(ctx, func() {
		if started != nil {
			started(s, d, time.Since(began))
		}
		if work == nil {
			return
		}
		go func() {
			defer cancel()
			done <- work(ctx, s, d)
		}()
	})
	if work != nil {
		select {
		case workErr := <-done:
			err = errors.Join(workErr, err)
		default: // it never came to the work
		}
	}
	err = errors.Join(err, s.Close())
	if err == nil && work == nil {
		log.Info("stopped", zap.String("data", f.DataDir))
	}
	return err
}

func (f *upFlags) announce(s *standalone.Standalone, d *demo.Demo, took time.Duration) {
	api, err := s.API.Addr(context.Background())
	if err != nil {
		return
	}
	ingest := s.Ingest.Addr(context.Background())
	fmt.Printf("countersign runs, ready in %.1f s. Ctrl-C stops it; the next start goes on where it was.\n\n", took.Seconds())
	fmt.Printf("  look     http://%s%s   (this link works once)\n", api, s.API.Link())
	fmt.Printf("  send     http://%s/v1/events   (bearer token in %s)\n", ingest, s.IngestToken)
	fmt.Printf("  Kafka    %s\n", s.Broker.Addr())
	fmt.Printf("  signals  %s   (Shared Signals for apps; authority in %s)\n", s.SignalsURL, s.CertFile)
	if d != nil {
		fmt.Printf("  bank     %s   (everybody's password: %q; it subscribes by Kafka)\n", d.BankURL(), bank.DemoPassword)
		fmt.Printf("  vault    %s/api/documents   (the bank's tokens are good there; it subscribes by Shared Signals push)\n", d.VaultURL())
		fmt.Printf("\nA company of %d simulated people lives through its last six hours at %.0f times the speed; somebody attacks it every %s.\n",
			f.live.Users, f.live.Speed, f.live.AttackEvery)
	}
	fmt.Println()
}

func (f *upFlags) takeAnyPorts() {
	const free = "127.0.0.1:0"
	f.KafkaPort, f.APIListen, f.IngestListen, f.CourierListen, f.MetricsListen = 0, free, free, free, free
	f.live.BankListen, f.live.VaultListen = free, free
}

// runCheck is the demo without a person: any free ports, temporary data, one walk through the bank.
func (f *upFlags) runCheck(ctx context.Context) error {
	if !f.demo {
		return errors.New("--check goes with --demo")
	}
	dir, err := os.MkdirTemp("", "countersign-check-")
	if err != nil {
		return fmt.Errorf("making a temporary directory: %w", err)
	}
	defer os.RemoveAll(dir)
	f.DataDir = dir
	f.live.AttackEvery = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	began := time.Now()
	var ready time.Duration
	var report *demo.Report
	err = f.run(ctx, began, func(_ *standalone.Standalone, _ *demo.Demo, took time.Duration) { ready = took },
		func(ctx context.Context, s *standalone.Standalone, d *demo.Demo) (err error) {
			report, err = d.Check(ctx, bank.ClientConfig{User: "ada", Password: bank.DemoPassword}, s, began)
			return err
		})
	if err != nil {
		return err
	}
	if report == nil {
		return errors.New("the check did not finish within two minutes")
	}
	report.ReadyMs, report.TookMs = float64(ready.Milliseconds()), float64(time.Since(began).Milliseconds())
	return json.NewEncoder(os.Stdout).Encode(report)
}
