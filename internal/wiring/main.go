package wiring

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/telemetry"
)

// Main is the main function of a service: flags, configuration, parts, run. It returns the exit status. sections are those
// of the configuration that its parts use, besides what every service uses.
func Main(name string, sections []string, parts func(*Process) error) int {
	return MainWith(name, func(Config) ([]string, error) { return sections, nil }, parts)
}

// MainWith is [Main] for a service whose parts depend on what is configured: sections returns those that they use.
func MainWith(name string, sections func(Config) ([]string, error), parts func(*Process) error) int {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	file := flags.String("config", "", "configuration `file` (YAML); variables "+config.Prefix+"SECTION__KEY override it")
	check := flags.Bool("check", false, "check the configuration and exit")
	if err := flags.Parse(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, name, *file, *check, sections, parts); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

func run(ctx context.Context, name, file string, check bool, sections func(Config) ([]string, error), parts func(*Process) error) error {
	cfg, err := load(file, sections)
	if err != nil {
		return fmt.Errorf("the configuration has problems:\n%w", err)
	}
	if check {
		return nil
	}
	log, err := telemetry.Logger(cfg.Telemetry)
	if err != nil {
		return err
	}
	log = log.Named(name)
	p, err := Open(cfg, log)
	if err != nil {
		return err
	}
	p.AddTopics()
	if err := parts(p); err != nil {
		return errors.Join(err, p.Cluster.Close())
	}
	err = p.Run(ctx, func() { log.Info("running", zap.Strings("brokers", cfg.Kafka.Brokers)) })
	log.Info("stopped")
	_ = log.Sync() // standard error cannot always be synced
	return err
}

// load reads the configuration, and checks the sections that its own content asks for.
func load(file string, sections func(Config) ([]string, error)) (Config, error) {
	always := []string{"kafka", "topics", "telemetry"}
	cfg, err := config.Load(DefaultConfig(), file, os.Environ(), always...)
	used, nothing := sections(cfg)
	if err == nil && nothing != nil {
		return cfg, nothing
	}
	return config.Load(DefaultConfig(), file, os.Environ(), append(always, used...)...)
}
