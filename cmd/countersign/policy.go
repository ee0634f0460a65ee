package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/terminal"
)

// shipped is the name of the policies that ship, in the place of a file.
const shipped = "default"

func policyCommand() *cobra.Command {
	root := &cobra.Command{Use: "policy", Short: "Check and show policies"}
	root.AddCommand(
		&cobra.Command{
			Use: "check FILE|default", Short: "Type-check a policy file and say what is in it", Args: cobra.ExactArgs(1),
			Long: "Report every problem of a policy file, each with its path and line, as the detector would when it loads it.\n" +
				"A good file is listed in the order in which it is evaluated. ALONE marks policies that can match an event\n" +
				"without any finding.",
			RunE: func(c *cobra.Command, args []string) error {
				file := args[0]
				if file == shipped {
					file = ""
				}
				set, err := detector.LoadPolicies(file)
				if err != nil {
					return fmt.Errorf("the policies have problems: %w", err)
				}
				return printPolicies(c.OutOrStdout(), args[0], set)
			},
		},
		&cobra.Command{
			Use: "show default", Short: "Print the policies that ship, to start from", Args: cobra.ExactArgs(1), ValidArgs: []string{shipped},
			RunE: func(c *cobra.Command, args []string) error {
				if args[0] != shipped {
					return fmt.Errorf("there is nothing to show but %q", shipped)
				}
				_, err := c.OutOrStdout().Write(policy.DefaultYAML())
				return err
			},
		},
	)
	return root
}

func printPolicies(w io.Writer, name string, set *policy.Set) error {
	list := set.Policies()
	fmt.Fprintf(w, "%s is good: %d policies, version %s\n\n", name, len(list), set.Version())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "POLICY\tMODE\tACTION\tPROOF\tSCOPE\tCOOLDOWN\tALONE\tOWNER")
	for _, p := range list {
		proof := strings.Join(p.Then.ACRValues, " ")
		if p.Then.MaxAge > 0 {
			proof += " within " + span(events.Millis(p.Then.MaxAge)*events.Second)
		}
		alone := "-"
		if p.Unprompted() {
			alone = "yes"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, p.Mode, p.Then.Action, dash(proof), dash(string(p.Then.Scope)), span(p.Cooldown),
			alone, dash(terminal.Plain(p.Owner)))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing policies: %w", err)
	}
	fmt.Fprintln(t)
	for _, p := range list {
		if p.Description != "" {
			fmt.Fprintf(t, "%s\t%s\n", p.Name, terminal.Plain(p.Description))
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing policies: %w", err)
	}
	limits := set.Breaker()
	_, err := fmt.Fprintf(w, "\nbreaker: %d requirements a minute, %g of the active users when there are %d or more\n",
		limits.PerMinute, limits.UserShare, limits.MinUsers)
	return err
}

// span is a duration for people; "-" for none.
func span(m events.Millis) string {
	if m == 0 {
		return "-"
	}
	return policy.Short(time.Duration(m) * time.Millisecond)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
