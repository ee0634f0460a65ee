package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

func eraseCommand() *cobra.Command {
	var configFile, tenant, person, confirm, reason string
	c := &cobra.Command{
		Use: "erase --tenant TENANT --user ID --confirm ID --reason TEXT", Short: "Erase what is known of a person", Args: cobra.NoArgs,
		Long: "Write the erasure of a person to the log. The detector forgets the user; the archiver has the user's rows of up to now\n" +
			"deleted from ClickHouse, again whenever they come back: events, findings, revocations, receipts, marks, alerts, by_session,\n" +
			"by_user and by_prefix. The topics of the log drop their records by their own retention. See docs/privacy.md. There is no way back.",
		RunE: func(c *cobra.Command, _ []string) error {
			if confirm != person {
				return fmt.Errorf("--confirm: is %.80q, must be the same as --user", confirm)
			}
			if reason == "" || len(reason) > events.MaxText {
				return errors.New("--reason: say in a sentence why, without personal data; it is kept in the audit trail")
			}
			e := events.NewErasure(tenant, person, events.MillisOf(time.Now()))
			if err := e.Validate(); err != nil {
				return fmt.Errorf("the person cannot be: %w", err)
			}
			entry := events.AuditEntry{
				Time: e.Time, Tenant: e.Tenant, Actor: operatorName(), Via: events.ViaCommand, Action: "erase", Target: "users/" + e.User.ID, User: e.User.ID,
				Detail: reason, Outcome: events.AuditDone, Request: e.ID,
			}
			entry.Clean()
			entry.ID = events.AuditID(&entry)
			cluster, err := connect(configFile)
			if err != nil {
				return err
			}
			defer cluster.Close()
			ctx, cancel := context.WithTimeout(c.Context(), 15*time.Second)
			defer cancel()
			log := cluster.Publisher(stream.PublisherConfig{})
			if err := log.Publish(ctx, events.TopicAudit, []stream.Record{{Key: []byte(entry.Key()), Value: events.Encode(&entry)}}); err != nil {
				return fmt.Errorf("writing the audit entry, without which nothing is erased: %w", err)
			}
			if err := log.Publish(ctx, events.TopicEvents, []stream.Record{{Key: []byte(e.Key()), Value: events.Encode(e)}}); err != nil {
				return fmt.Errorf("writing the erasure; repeat it, it does no harm twice: %w", err)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s of %s is being erased, up to %v; GET /v1/erasures says when the history is done\n", e.User.ID, e.Tenant, e.Time)
			return nil
		},
	}
	flags := c.Flags()
	flags.StringVar(&configFile, "config", "", "configuration file (YAML); the environment overrides it")
	flags.StringVar(&tenant, "tenant", "", "the person's tenant")
	flags.StringVar(&person, "user", "", "the person's id, as events have it in user.id")
	flags.StringVar(&confirm, "confirm", "", "the id once more")
	flags.StringVar(&reason, "reason", "", "why, for the audit trail")
	return c
}

// operatorName is who runs the program, as the system knows them.
func operatorName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "unknown"
}
