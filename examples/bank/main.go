// Command bank runs the sample bank against countersign's Kafka and ingest.
//
//	go run ./examples/bank -brokers 127.0.0.1:9092 -ingest http://127.0.0.1:8081/v1/events -token-file token
//
// Then open http://127.0.0.1:8090.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/examples/bank/bank"
	"github.com/countersign-io/countersign/stepup"
	stepupkafka "github.com/countersign-io/countersign/stepup/kafka"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bank:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("bank", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:8090", "`address` to serve on")
	brokers := flags.String("brokers", "127.0.0.1:9092", "Kafka `addresses`, separated by commas")
	ingest := flags.String("ingest", "", "`URL` of countersign's ingest, such as http://127.0.0.1:8081/v1/events; empty reports nothing")
	tokenFile := flags.String("token-file", "", "`file` with the bearer token for ingest")
	tenant := flags.String("tenant", "acme", "tenant of the users")
	demo := flags.Bool("demo", true, "let callers from this machine pretend to be elsewhere")
	failOpen := flags.Bool("fail-open", false, "let users in while nothing is heard from Kafka")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	var token []byte
	if *tokenFile != "" {
		var err error
		if token, err = os.ReadFile(*tokenFile); err != nil {
			return fmt.Errorf("reading the token: %w", err)
		}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		return err
	}
	feed, err := stepupkafka.New(stepupkafka.Config{
		Brokers: strings.Split(*brokers, ","), ClientID: "bank", App: "bank", Logger: log,
	}, index)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	policy := stepup.FailClosed
	if *failOpen {
		policy = stepup.FailOpen
	}
	b, err := bank.New(bank.Config{
		Listener: listener, Index: index, Receipts: feed.Receipts(), Stale: policy, Tenant: *tenant, Demo: *demo, Logger: log,
		Events: bank.Events{URL: *ingest, Token: strings.TrimSpace(string(token))},
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log.Info("serving", "url", b.URL(), "password_of_everybody", bank.DemoPassword)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return feed.Run(ctx) })
	group.Go(func() error { return b.Run(ctx) })
	return group.Wait()
}
