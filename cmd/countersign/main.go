// Command countersign is the whole of countersign in one program: `countersign up` runs every part on this machine, the
// other verbs are the operator's tools.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/bench"
	"github.com/countersign-io/countersign/internal/embedded/engine"
)

// version is set by the linker.
var version = "development"

func main() { os.Exit(run()) }

func run() int {
	if len(os.Args) > 1 {
		// Children of ourselves, before anything else is set up.
		switch os.Args[1] {
		case engine.ChildVerb:
			return engine.ChildMain()
		case bench.BrokerVerb:
			return benchChild(bench.BrokerChild)
		case bench.CourierVerb:
			return benchChild(bench.CourierChild)
		case bench.APIVerb:
			return benchChild(bench.APIChild)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:           "countersign",
		Short:         "Watch sign-ins and sessions, and tell apps when to ask for a second proof of identity",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(upCommand(), simulateCommand(), ingestCommand(), sourcesCommand(), benchCommand(), evalCommand(), backtestCommand(), explainCommand(), policyCommand(), breakerCommand(), eraseCommand(), actCommand(), enforceCommand(), streamsCommand(), alertsCommand(), keysCommand(), configCommand(), topicsCommand(), migrateCommand(), openapiCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "countersign:", err)
		return 1
	}
	return 0
}

// benchChild runs a part of a bench in a process of its own.
func benchChild(run func(argument string, in io.Reader, out io.Writer) error) int {
	if err := run(os.Args[2], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "countersign:", err)
		return 1
	}
	return 0
}
