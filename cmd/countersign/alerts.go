package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/terminal"
	"github.com/countersign-io/countersign/internal/wiring"
)

// alertsFlags are what the verbs share.
type alertsFlags struct {
	config string
	json   bool
}

func alertsCommand() *cobra.Command {
	f := new(alertsFlags)
	root := &cobra.Command{
		Use: "alerts", Short: "Show incidents, and test and repeat the messages about them",
		Long: "Show the incidents that people are told of, and test and repeat messages. The configuration is that of the couriers, with\n" +
			"the files that its section notify names.",
	}
	root.PersistentFlags().StringVar(&f.config, "config", "", "configuration file (YAML); the environment overrides it")
	root.AddCommand(f.listCommand(), f.testCommand(), f.replayCommand())
	return root
}

// desk is what sends for an operator.
func (f *alertsFlags) desk() (*notify.Desk, error) {
	cfg, err := config.Load(wiring.DefaultConfig(), f.config, os.Environ(), "notify")
	if err != nil {
		return nil, fmt.Errorf("the configuration has problems:\n%w", err)
	}
	desk, err := notify.OpenDesk(cfg.Notify)
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	if desk.Targets() == 0 {
		return nil, errors.New("no targets are configured (notify.targets); --config FILE?")
	}
	return desk, nil
}

func (f *alertsFlags) testCommand() *cobra.Command {
	return &cobra.Command{
		Use: "test TARGET", Short: "Send a test message to a target now", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			desk, err := f.desk()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
			defer cancel()
			if err := desk.Test(ctx, args[0], time.Now()); errors.Is(err, notify.ErrNoTarget) {
				return err
			} else if err != nil {
				return fmt.Errorf("%s did not take it: %w", args[0], err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s has taken the message\n", args[0])
			return err
		},
	}
}

func (f *alertsFlags) listCommand() *cobra.Command {
	var dead bool
	c := &cobra.Command{
		Use: "list", Short: "List the incidents, or the messages that could not be delivered", Args: cobra.NoArgs,
		Long: "List the incidents that are open or were so within the window (notify.window), oldest first, with what became of the\n" +
			"messages; with --dead the messages that could not be delivered.",
		RunE: func(c *cobra.Command, _ []string) error {
			if dead {
				letters, err := f.letters(c.Context(), func(notify.Letter) bool { return true })
				if err != nil {
					return err
				}
				return f.print(c.OutOrStdout(), "TIME\tID\tTARGET\tUSER\tWHY", len(letters), func(i int) (any, []string) {
					l := &letters[i]
					return l, []string{l.Time.String(), l.ID, l.Target, whom(&l.Message.Incident), l.Reason}
				})
			}
			cluster, err := connect(f.config)
			if err != nil {
				return err
			}
			defer cluster.Close()
			if err := ping(c.Context(), cluster); err != nil {
				return err
			}
			list, err := notify.Incidents(c.Context(), cluster.Table(nil))
			if err != nil {
				return err
			}
			return f.print(c.OutOrStdout(), "SINCE\tSEVERITY\tKIND\tWHO\tFINDINGS\tSTATE\tMESSAGES\tWHAT", len(list), func(i int) (any, []string) {
				n := list[i]
				return n, []string{n.Since.String(), string(n.Severity), string(n.Kind), whom(n), strconv.Itoa(n.Findings), cmp.Or(string(n.Ending), "open"), told(n), n.Title}
			})
		},
	}
	c.Flags().BoolVar(&dead, "dead", false, "list the messages that could not be delivered")
	c.Flags().BoolVar(&f.json, "json", false, "print one object a line")
	return c
}

// whom is whom an incident is about.
func whom(n *incident.Incident) string {
	if n.User == "" {
		return fmt.Sprintf("%s (%d users)", n.Tenant, n.Users)
	}
	return n.Tenant + "/" + cmp.Or(n.UserName, n.User)
}

// told counts the messages of an incident by what became of them.
func told(n *incident.Incident) string {
	var parts []string
	for _, o := range []incident.Outcome{incident.Sent, incident.Summarised, incident.Pending, incident.Dead} {
		count := 0
		for i := range n.Deliveries {
			if n.Deliveries[i].Outcome == o {
				count++
			}
		}
		if count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count, cmp.Or(string(o), "waiting")))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

// print writes rows as a table or as objects.
func (f *alertsFlags) print(w io.Writer, head string, n int, row func(i int) (any, []string)) error {
	if f.json {
		enc := json.NewEncoder(w)
		for i := range n {
			object, _ := row(i)
			if err := enc.Encode(object); err != nil {
				return fmt.Errorf("writing alerts: %w", err)
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, head)
	for i := range n {
		_, cells := row(i)
		for k, cell := range cells {
			cells[k] = terminal.Plain(cell)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing alerts: %w", err)
	}
	return nil
}

// letters reads the messages that could not be delivered, oldest first.
func (f *alertsFlags) letters(ctx context.Context, wanted func(notify.Letter) bool) ([]notify.Letter, error) {
	cluster, err := connect(f.config)
	if err != nil {
		return nil, err
	}
	defer cluster.Close()
	if err := ping(ctx, cluster); err != nil {
		return nil, err
	}
	var list []notify.Letter
	err = notify.Letters(ctx, cluster.Table(nil), func(l notify.Letter) error {
		if wanted(l) {
			list = append(list, l)
		}
		return nil
	})
	slices.SortStableFunc(list, func(a, b notify.Letter) int { return cmp.Compare(a.Time, b.Time) })
	return list, err
}

func (f *alertsFlags) replayCommand() *cobra.Command {
	var target, id string
	var since time.Duration
	c := &cobra.Command{
		Use: "replay", Short: "Send messages again that could not be delivered", Args: cobra.NoArgs,
		Long: "Send messages again, now and once, that went to the dead letters: those of a target, or a single one. They keep their ids,\n" +
			"so that a receiver that heeds them takes none twice.",
		RunE: func(c *cobra.Command, _ []string) error {
			if target == "" && id == "" {
				return errors.New("--target or --id: say which messages")
			}
			desk, err := f.desk()
			if err != nil {
				return err
			}
			from := events.MillisOf(time.Now().Add(-since))
			list, err := f.letters(c.Context(), func(l notify.Letter) bool {
				return (target == "" || l.Target == target) && (id == "" || l.ID == id) && l.Time >= from
			})
			if err != nil {
				return err
			}
			var failed []error
			for i := range list {
				ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
				err := desk.Send(ctx, list[i].Target, &list[i].Message)
				cancel()
				if err != nil {
					failed = append(failed, fmt.Errorf("%s to %s: %w", list[i].ID, list[i].Target, err))
				}
			}
			fmt.Fprintf(c.OutOrStdout(), "%d of %d messages were taken\n", len(list)-len(failed), len(list))
			return errors.Join(failed...)
		},
	}
	c.Flags().StringVar(&target, "target", "", "those of this target")
	c.Flags().StringVar(&id, "id", "", "the one with this `ID`, as countersign alerts list --dead shows it")
	c.Flags().DurationVar(&since, "since", 7*24*time.Hour, "at most this old")
	return c
}
