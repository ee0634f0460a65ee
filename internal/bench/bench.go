// Package bench measures what countersign promises, each figure beside that of the bare thing it stands on, measured in
// the same run on the same machine: the detector beside a consumer that only counts, the decision beside a bare round
// trip, the archiver beside a bare insert, the SDK's check beside a bare map.
//
// The broker runs in a process of its own, as it does in production. Nothing here is a test.
package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/countersign-io/countersign/internal/embedded/broker"
	"github.com/countersign-io/countersign/internal/stream"
)

// Figure is one measured value beside the bare one.
type Figure struct {
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	// Bare is the figure of the bare thing, in the same unit; Ratio is Value/Bare. 0 means that there is none.
	Bare  float64 `json:"bare"`
	Ratio float64 `json:"ratio"`
}

func figure(metric string, value float64, unit string, bare float64) Figure {
	f := Figure{Metric: metric, Value: value, Unit: unit, Bare: bare}
	if bare != 0 {
		f.Ratio = value / bare
	}
	return f
}

// Print writes the figures as a table, or as JSON with one object a line.
func Print(w io.Writer, figures []Figure, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		for _, f := range figures {
			if err := enc.Encode(f); err != nil {
				return fmt.Errorf("writing figures: %w", err)
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "metric\tvalue\tunit\tbare\tratio\t")
	for _, f := range figures {
		bare, ratio := "", ""
		if f.Bare != 0 {
			bare, ratio = fmt.Sprintf("%.4g", f.Bare), fmt.Sprintf("%.3f", f.Ratio)
			if f.Bare >= 1000 {
				bare = fmt.Sprintf("%.0f", f.Bare)
			}
		}
		value := fmt.Sprintf("%.4g", f.Value)
		if f.Value >= 1000 {
			value = fmt.Sprintf("%.0f", f.Value)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t\n", f.Metric, value, f.Unit, bare, ratio)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing figures: %w", err)
	}
	return nil
}

// Options are common to all measurements.
type Options struct {
	// Dir holds the data of the run and is the caller's to delete.
	Dir string
	// Progress is told in words what is going on.
	Progress func(format string, args ...any)
	Seed     uint64
}

// BrokerVerb is the hidden command with which a bench starts its broker as a process of its own.
const BrokerVerb = "broker-child"

// BrokerChild is that command: it runs an embedded broker over dir, prints its address, and ends when standard input does.
func BrokerChild(dir string, in io.Reader, out io.Writer) error {
	b, err := broker.Start(broker.Config{DataDir: dir})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, b.Addr())
	_, err = io.Copy(io.Discard, in)
	return errors.Join(err, b.Close())
}

// startBroker starts the child and returns a cluster on it. stop ends both.
func startBroker(ctx context.Context, dir string) (cluster *stream.Cluster, address string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, BrokerVerb, dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", nil, fmt.Errorf("starting the broker: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", nil, fmt.Errorf("starting the broker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, "", nil, fmt.Errorf("starting the broker: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, "", nil, errors.Join(fmt.Errorf("waiting for the broker's address: %w", err), in.Close(), cmd.Wait())
	}
	address = strings.TrimSpace(line)
	cfg := stream.DefaultConfig()
	cfg.Brokers, cfg.ClientID = []string{address}, "countersign-bench"
	cluster, err = stream.Connect(cfg, nil)
	if err != nil {
		return nil, "", nil, errors.Join(err, in.Close(), cmd.Wait())
	}
	return cluster, address, func() error {
		return errors.Join(cluster.Close(), in.Close(), cmd.Wait())
	}, nil
}

// rate is n over d, a second.
func rate(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
