// Command kafka starts a real Apache Kafka for tests, runs a command against it and stops it again:
//
//	go run ./tools/kafka -- go test ./internal/stream/...
//
// The command finds the broker's address in COUNTERSIGN_KAFKA. Without a command the broker runs until Ctrl-C. Kafka's
// jars are fetched once, by Maven as pom.xml pins them, into .cache/kafka; Java 17 or later runs them. Where Java or Maven
// is missing it says so and does nothing, unless CI_REQUIRE_SERVICES=1 makes that an error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

func main() { os.Exit(run()) }

func run() int {
	flags := flag.NewFlagSet("kafka", flag.ContinueOnError)
	cache := flags.String("cache", filepath.Join(".cache", "kafka"), "`directory` for Kafka's jars")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := withBroker(ctx, *cache, flags.Args())
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode() // the command has said what was wrong
	case errors.Is(err, errMissing) && os.Getenv("CI_REQUIRE_SERVICES") != "1":
		fmt.Fprintf(os.Stderr, "skipped: %v\n", err)
		return 0
	default:
		fmt.Fprintf(os.Stderr, "kafka: %v\n", err)
		return 1
	}
}

// withBroker runs command (or waits for the context, when there is none) while a broker runs.
func withBroker(ctx context.Context, cache string, command []string) (err error) {
	java, err := findJava(ctx)
	if err != nil {
		return err
	}
	jars, err := fetchJars(ctx, cache)
	if err != nil {
		return err
	}
	began := time.Now()
	b, err := startBroker(ctx, java, jars)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	fmt.Fprintf(os.Stderr, "Apache Kafka answers on %s after %.1f s\n", b.addr, time.Since(began).Seconds())
	if len(command) == 0 {
		fmt.Fprintf(os.Stderr, "export %s=%s\nCtrl-C stops it\n", kafkatest.Env, b.addr)
		select {
		case <-ctx.Done():
			return nil
		case <-b.done:
			return fmt.Errorf("broker ended by itself:\n%s", b.logTail())
		}
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), kafkatest.Env+"="+b.addr)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		select {
		case <-b.done:
			return fmt.Errorf("broker died under the command:\n%s", b.logTail())
		default:
			return fmt.Errorf("running %s: %w", command[0], err)
		}
	}
	return nil
}
