package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/set"
)

func keysCommand() *cobra.Command {
	root := &cobra.Command{Use: "keys", Short: "Make and list the keys that sign Security Event Tokens"}
	root.AddCommand(
		&cobra.Command{
			Use: "new DIR", Short: "Make a signing key", Args: cobra.ExactArgs(1),
			Long: "Write a new RSA key into the couriers' directory of keys, readable by its owner only. The couriers publish it within\n" +
				"30 seconds and sign with it once it has been published for long enough. Remove the key before it when\n" +
				"`countersign keys list` calls it old.",
			RunE: func(c *cobra.Command, args []string) error {
				path, key, err := set.NewKeyFile(args[0], time.Now())
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%s  kid %s\n", path, key.KeyID())
				return nil
			},
		},
		listKeysCommand(),
	)
	return root
}

func listKeysCommand() *cobra.Command {
	before := set.DefaultKeyringConfig().PublishBefore
	list := &cobra.Command{
		Use: "list DIR", Short: "List the signing keys, oldest first, and what each is for", Args: cobra.ExactArgs(1),
		Long: "ROLE is what a key is for by the age of its file: waits, it is published and signs later; signs; retiring, it signed\n" +
			"until lately and must stay; old, it may be removed.",
		RunE: func(c *cobra.Command, args []string) error {
			now := time.Now()
			keys, problems := set.ListKeys(args[0], now, before)
			if len(keys) > 0 {
				t := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(t, "FILE\tKID\tAGE\tROLE")
				for _, k := range keys {
					age := now.Sub(k.Written).Truncate(time.Second)
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", k.File, k.KeyID, span(events.Millis(age.Milliseconds())), k.Role)
				}
				if err := t.Flush(); err != nil {
					return fmt.Errorf("writing keys: %w", err)
				}
			}
			if problems != nil {
				return fmt.Errorf("the directory has problems:\n%w", problems)
			}
			if len(keys) == 0 {
				return fmt.Errorf("%s holds no key, `countersign keys new` makes one", args[0])
			}
			return nil
		},
	}
	list.Flags().DurationVar(&before, "publish-before", before, "the couriers' publish_before")
	return list
}
