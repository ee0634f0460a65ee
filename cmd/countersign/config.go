package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/wiring"
)

func configCommand() *cobra.Command {
	var file string
	root := &cobra.Command{Use: "config", Short: "Check and show the configuration of the services"}
	root.PersistentFlags().StringVar(&file, "config", "", "configuration file (YAML); the environment overrides it")
	root.AddCommand(
		&cobra.Command{
			Use: "check", Short: "Report every problem of the configuration, with its path", Args: cobra.NoArgs,
			Long: "Report every problem of the configuration, each with its path. Checked are the sections that the file or the\n" +
				"environment name, or all when they name none: a service needs only some, and may leave them to their defaults.",
			RunE: func(c *cobra.Command, _ []string) error {
				named, others, err := config.Sections[wiring.Config](file, os.Environ())
				if err != nil {
					return err
				}
				if _, err := config.Load(wiring.DefaultConfig(), file, os.Environ(), named...); err != nil {
					return fmt.Errorf("the configuration has problems:\n%w", err)
				}
				out := c.OutOrStdout()
				if len(named) == 0 || len(others) == 0 {
					_, err = fmt.Fprintln(out, "the configuration is good")
					return err
				}
				_, err = fmt.Fprintf(out, "the configuration is good: %s\nnot named, so not checked: %s; a service that needs more of one than its defaults says so when it starts\n",
					strings.Join(named, ", "), strings.Join(others, ", "))
				return err
			},
		},
		&cobra.Command{
			Use: "dump", Short: "Show the configuration in force, defaults included, secrets redacted", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				cfg, err := config.Load(wiring.DefaultConfig(), file, os.Environ(), "telemetry")
				if err != nil {
					return fmt.Errorf("the configuration has problems:\n%w", err)
				}
				out, err := config.Dump(cfg)
				if err != nil {
					return err
				}
				_, err = c.OutOrStdout().Write(out)
				return err
			},
		},
	)
	return root
}

func topicsCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "topics", Short: "Create the topics that are missing, and check those that are there", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(wiring.DefaultConfig(), file, os.Environ(), "kafka", "topics")
			if err != nil {
				return fmt.Errorf("the configuration has problems:\n%w", err)
			}
			cluster, err := stream.Connect(cfg.Kafka, nil)
			if err != nil {
				return err
			}
			defer cluster.Close()
			if err := cluster.EnsureTopics(c.Context(), cfg.Topics.Specs()); err != nil {
				return err
			}
			for _, spec := range cfg.Topics.Specs() {
				first, end, err := cluster.Ends(c.Context(), spec.Name)
				if err != nil {
					return err
				}
				records := int64(0)
				for p := range end {
					records += end[p] - first[p]
				}
				fmt.Fprintf(c.OutOrStdout(), "%-32s %3d partitions %12d records\n", spec.Name, len(end), records)
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file (YAML); the environment overrides it")
	return c
}

func migrateCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "migrate", Short: "Bring the ClickHouse tables to this version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := config.Load(wiring.DefaultConfig(), file, os.Environ(), "clickhouse")
			if err != nil {
				return fmt.Errorf("the configuration has problems:\n%w", err)
			}
			store, err := history.Open(cfg.ClickHouse)
			if err != nil {
				return err
			}
			defer store.Close()
			done, err := store.Migrate(c.Context())
			if err != nil {
				return err
			}
			for _, step := range done {
				fmt.Fprintln(c.OutOrStdout(), "applied", step)
			}
			fmt.Fprintln(c.OutOrStdout(), "the tables are current")
			return nil
		},
	}
	c.Flags().StringVar(&file, "config", "", "configuration file (YAML); the environment overrides it")
	return c
}
