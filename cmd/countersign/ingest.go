package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/standalone"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/telemetry"
	"github.com/countersign-io/countersign/internal/terminal/progress"
	"github.com/countersign-io/countersign/internal/wiring"
)

func ingestCommand() *cobra.Command {
	root := &cobra.Command{Use: "ingest", Short: "Take records in"}
	root.AddCommand(ingestFileCommand(), ingestBackfillCommand())
	return root
}

func ingestBackfillCommand() *cobra.Command {
	var configFile, since, until string
	c := &cobra.Command{
		Use: "backfill SOURCE", Short: "Fetch the history of a source that can be asked", Args: cobra.ExactArgs(1),
		Long: "Fetch the history of a source of the configuration's section sources (`countersign sources` lists them).\n" +
			"An interrupted run goes on where it was when it is started again with the moment that it prints. It may run beside the\n" +
			"source itself: an event has one id, by whatever way it comes.\n\n" +
			"Sources in sources.entra_graph need the ingest binary: ingest backfill -config FILE -since 30d SOURCE",
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := config.Load(wiring.DefaultConfig(), configFile, os.Environ(), "kafka", "topics", "geo", "sources")
			if err != nil {
				return fmt.Errorf("the configuration has problems:\n%w", err)
			}
			log, err := telemetry.Logger(telemetry.Config{LogLevel: "warn", LogFormat: "console"})
			if err != nil {
				return err
			}
			span, err := wiring.ParseSpan(since, until, time.Now())
			if err != nil {
				return err
			}
			return wiring.Backfill(c.Context(), cfg, log, nil, args[0], span, os.Stderr)
		},
	}
	flags := c.Flags()
	flags.StringVar(&configFile, "config", "", "configuration file (YAML); the environment overrides it")
	flags.StringVar(&since, "since", "", "where to begin: a time (RFC 3339), a day (2026-03-04), or how long ago (720h, 30d)")
	flags.StringVar(&until, "until", "", "where to end, in the same forms (default: now)")
	if err := c.MarkFlagRequired("since"); err != nil {
		panic(err)
	}
	return c
}

func ingestFileCommand() *cobra.Command {
	formats := slices.Sorted(maps.Keys(wiring.Decoders()))
	var configFile, format, name, stateDir string
	var tenants []string
	var trusted, dryRun bool
	c := &cobra.Command{
		Use: "file FILE", Short: "Take in a file of records: NDJSON or JSON, plain or .gz", Args: cobra.MaximumNArgs(1),
		Long: "Take in a file of records and put their events on the log of the configured Kafka (by default that of `countersign up`).\n" +
			"An interrupted run goes on where it was. What is refused is shown and becomes a dead letter.",
		RunE: func(c *cobra.Command, args []string) error {
			if format == "list" {
				fmt.Fprintln(c.OutOrStdout(), strings.Join(formats, "\n"))
				return nil
			}
			if len(args) == 0 {
				return errors.New("name the file to take in")
			}
			decoder := wiring.Decoders()[format]
			if decoder == nil {
				return fmt.Errorf("--format: %q is unknown, use one of %s", format, strings.Join(formats, ", "))
			}
			cfg, err := config.Load(wiring.DefaultConfig(), configFile, os.Environ(), "kafka", "geo")
			if err != nil {
				return fmt.Errorf("the configuration has problems:\n%w", err)
			}
			if len(cfg.Geo.City) == 0 && len(cfg.Geo.ASN) == 0 {
				cfg.Geo.City, cfg.Geo.ASN = geo.Find(standalone.AssetsDir())
			}
			places, err := geo.Open(cfg.Geo, geo.Deps{})
			if err != nil {
				return fmt.Errorf("geo: %w", err)
			}
			out := bufio.NewWriter(c.OutOrStdout())
			defer out.Flush()
			var publisher ingest.Publisher = printer{out}
			if !dryRun {
				cluster, err := stream.Connect(cfg.Kafka, nil)
				if err != nil {
					return err
				}
				defer cluster.Close()
				publisher = cluster.Publisher(stream.PublisherConfig{})
			}
			pipeline, err := ingest.NewPipeline(cfg.Ingest.Pipeline, ingest.PipelineDeps{Publisher: publisher, Geo: places})
			if err != nil {
				return err
			}
			options := ingest.FileOptions{Source: ingest.Source{Name: name, Decoder: decoder, Format: format, Tenants: tenants, TrustedPlaces: trusted}}
			var bar *progress.Bar
			if !dryRun {
				full, err := filepath.Abs(args[0])
				if err != nil {
					return err
				}
				options.Cursor = filepath.Join(stateDir, events.ID("file", full)+".json")
				bar = progress.New(c.ErrOrStderr(), filepath.Base(args[0]))
				options.Progress = func(read, size int64) { bar.Set(float64(read) / float64(max(size, 1))) }
			}
			result, err := pipeline.File(c.Context(), args[0], options)
			bar.End()
			for _, r := range result.Rejections {
				fmt.Fprintf(os.Stderr, "record %d: %s\n", r.Line, r.Error) // its line, where records are lines
			}
			for _, reason := range slices.Sorted(maps.Keys(result.Reasons)) {
				fmt.Fprintf(os.Stderr, "%d skipped: %s\n", result.Reasons[reason], reason)
			}
			fmt.Fprintf(os.Stderr, "%d accepted, %d known already, %d skipped, %d refused\n", result.Accepted, result.Duplicates, result.Skipped, result.Rejected)
			switch {
			case err != nil && result.Accepted+result.Duplicates > 0 && !dryRun:
				return fmt.Errorf("%w; run the same command again to go on", err)
			case err != nil:
				return err
			case result.Rejected > 0:
				return fmt.Errorf("%d records were refused", result.Rejected)
			}
			return nil
		},
	}
	flags := c.Flags()
	flags.StringVar(&configFile, "config", "", "configuration file (YAML); the environment overrides it")
	flags.StringVar(&format, "format", ingest.FormatEvent, "format of the records, or list to name them")
	flags.StringVar(&name, "source", "file", "name of the source, written into the events")
	flags.StringSliceVar(&tenants, "tenant", nil, "tenants the records may be of; with one, records that name none are its (default: all)")
	flags.BoolVar(&trusted, "trusted-places", false, "keep places and networks that the records carry")
	flags.BoolVar(&dryRun, "dry-run", false, "print the events, or what is wrong, and keep nothing")
	flags.StringVar(&stateDir, "state", filepath.Join("data", "files"), "directory of resume points")
	return c
}

// printer prints events instead of publishing them.
type printer struct{ out *bufio.Writer }

func (p printer) Publish(_ context.Context, topic string, records []stream.Record) error {
	if topic != events.TopicEvents {
		return nil
	}
	for _, r := range records {
		if _, err := p.out.Write(append(r.Value, '\n')); err != nil {
			return err
		}
	}
	return nil
}
