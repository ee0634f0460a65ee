package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen chan struct{} // closed when want was written
	want string
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	had := strings.Contains(o.text.String(), o.want)
	n, err := o.text.Write(b)
	if !had && strings.Contains(o.text.String(), o.want) {
		close(o.seen)
	}
	return n, err
}

// A courier for alerts and actions only needs no certificate and no keys; one with nothing to do says so.
func TestACourierWithoutATransmitter(t *testing.T) {
	t.Parallel()
	brokers, err := json.Marshal(kafkatest.Brokers(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	base := fmt.Sprintf("kafka: {brokers: %s, prefix: %q}\ntopics: {partitions: 2, replication: 1, min_insync: 1}\ntelemetry: {listen: \"\"}\n",
		brokers, kafkatest.Name("alone")+".")
	run := func(ctx context.Context, name, config string, args ...string) (*exec.Cmd, *output) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(base+config), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"--config", path}, args...)...)
		cmd.Env = append(os.Environ(), childEnv+"=1")
		out := &output{seen: make(chan struct{}), want: "running"}
		cmd.Stdout, cmd.Stderr = out, out
		return cmd, out
	}
	const alerts = "notify: {targets: [{name: am, type: alertmanager, url: \"https://am.example.com\"}], routes: [{name: all, to: [am]}]}\n"
	for _, args := range [][]string{nil, {"--check"}} {
		cmd, out := run(t.Context(), "nothing.yaml", "", args...)
		if err := cmd.Run(); err == nil || !strings.Contains(out.text.String(), "nothing to do: configure ssf, notify or act") {
			t.Errorf("%v: %v, %s", args, err, out.text.String())
		}
		cmd, out = run(t.Context(), "half.yaml", alerts+"ssf: {base_url: \"https://tr.example.com\"}\n", args...)
		if err := cmd.Run(); err == nil || !strings.Contains(out.text.String(), "courier.tls_cert_file") || !strings.Contains(out.text.String(), "signing_keys.directory") {
			t.Errorf("%v: %v, %s", args, err, out.text.String())
		}
	}
	check, out := run(t.Context(), "alerts.yaml", alerts, "--check")
	if err := check.Run(); err != nil {
		t.Errorf("%v, %s", err, out.text.String())
	}
	cmd, out := run(t.Context(), "alerts.yaml", alerts)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case <-out.seen:
	case <-ctx.Done():
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.text.String(), "no Shared Signals transmitter") {
		t.Errorf("%v, %s", err, out.text.String())
	}
}
