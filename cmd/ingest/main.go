// Command ingest takes records in, over HTTP and from the configured sources, makes them events and puts them on the log.
// It is the one program with the Microsoft Graph SDK in it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/source/entra/graphsdk"
	"github.com/countersign-io/countersign/internal/telemetry"
	"github.com/countersign-io/countersign/internal/wiring"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "backfill" {
		if err := backfill(os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "ingest: %v\n", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(wiring.Main("ingest", []string{"ingest", "sources", "geo"}, func(p *wiring.Process) error {
		_, err := p.AddIngest(graphsdk.New)
		return err
	}))
}

// backfill is `countersign ingest backfill` with Graph.
func backfill(args []string) error {
	flags := flag.NewFlagSet("ingest backfill", flag.ExitOnError)
	file := flags.String("config", "", "configuration `file` (YAML)")
	since := flags.String("since", "", "where to begin: a `time` (RFC 3339), a day (2026-03-04), or how long ago (720h, 30d)")
	until := flags.String("until", "", "where to end, in the same forms (default: now)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("name one source: ingest backfill -config FILE -since 30d SOURCE")
	}
	cfg, err := config.Load(wiring.DefaultConfig(), *file, os.Environ(), "kafka", "topics", "geo", "sources")
	if err != nil {
		return fmt.Errorf("the configuration has problems:\n%w", err)
	}
	log, err := telemetry.Logger(cfg.Telemetry)
	if err != nil {
		return err
	}
	span, err := wiring.ParseSpan(*since, *until, time.Now())
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return wiring.Backfill(ctx, cfg, log, graphsdk.New, flags.Arg(0), span, os.Stderr)
}
