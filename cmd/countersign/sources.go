package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/wiring"
)

func sourcesCommand() *cobra.Command {
	var configFile string
	var asJSON bool
	c := &cobra.Command{
		Use: "sources", Short: "List the sources: how far each came, its lag, its errors", Args: cobra.NoArgs,
		Long: "List the sources that are configured and those that have sent anything (by default those of `countersign up`).\n" +
			"LAG is the age of the newest event; SEEN is when the source last worked.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(wiring.DefaultConfig(), configFile, os.Environ(), "kafka")
			if err != nil {
				return fmt.Errorf("the configuration has problems:\n%w", err)
			}
			cluster, err := stream.Connect(cfg.Kafka, nil)
			if err != nil {
				return err
			}
			defer cluster.Close()
			ctx, cancel := context.WithTimeout(c.Context(), 15*time.Second)
			defer cancel()
			if err := cluster.Ping(ctx); err != nil {
				return fmt.Errorf("asking %s: %w", strings.Join(cfg.Kafka.Brokers, ", "), err)
			}
			known, err := pull.ReadStatus(ctx, cluster.Table(nil))
			if err != nil {
				return err
			}
			return printSources(c.OutOrStdout(), listed(cfg.SourceNames(), known), asJSON, time.Now())
		},
	}
	c.Flags().StringVar(&configFile, "config", "", "configuration file (YAML); the environment overrides it")
	c.Flags().BoolVar(&asJSON, "json", false, "print one object a line")
	return c
}

// listedSource is a source as it is shown.
type listedSource struct {
	pull.Status
	// Configured tells whether this configuration names it.
	Configured bool `json:"configured"`
}

// listed joins the configured sources with those that are known, configured ones first.
func listed(configured []wiring.SourceName, known []pull.Status) []listedSource {
	byName := map[string]pull.Status{}
	for _, s := range known {
		byName[s.Source] = s
	}
	var out []listedSource
	for _, c := range configured {
		s, ok := byName[c.Name]
		if !ok {
			s = pull.Status{Source: c.Name, Format: c.Format}
		}
		delete(byName, c.Name)
		out = append(out, listedSource{s, true})
	}
	for _, s := range known {
		if _, left := byName[s.Source]; left {
			out = append(out, listedSource{s, false})
		}
	}
	return out
}

// state is a source's in one word.
func (s *listedSource) state() string {
	switch {
	case s.Error != "":
		return "failing"
	case s.Updated == 0:
		return "waiting"
	}
	return "ok"
}

func printSources(w io.Writer, sources []listedSource, asJSON bool, now time.Time) error {
	if asJSON {
		enc := json.NewEncoder(w)
		for _, s := range sources {
			if err := enc.Encode(s); err != nil {
				return fmt.Errorf("writing sources: %w", err)
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SOURCE\tFORMAT\tSTATE\tLAG\tSEEN\tACCEPTED\tKNOWN\tSKIPPED\tREFUSED\tPOSITION")
	for i := range sources {
		s := &sources[i]
		state := s.state()
		if !s.Configured && sources[0].Configured {
			state += " (not configured here)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", s.Source, s.Format, state, age(s.LastEvent, now), age(s.LastSuccess, now),
			s.Accepted, s.Duplicates, s.Skipped, s.Rejected, shortened(string(s.Position), 60))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing sources: %w", err)
	}
	for i := range sources {
		if s := &sources[i]; s.Error != "" {
			fmt.Fprintf(w, "%s fails since %v: %s\n", s.Source, s.ErrorSince, s.Error)
		}
	}
	return nil
}

// age is how long ago something was, roughly; "-" when never.
func age(at events.Millis, now time.Time) string {
	if at == 0 {
		return "-"
	}
	d := now.Sub(at.Time())
	switch {
	case d < time.Second:
		return "now"
	case d < 2*time.Minute:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func shortened(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}
