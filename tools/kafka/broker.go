package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	startTimeout = 90 * time.Second
	stopTimeout  = 15 * time.Second
)

// properties make one process broker and controller on loopback. Internal topics are small and unreplicated, groups form
// at once, and the cleaner is restless: tests that want compaction set segment.ms on their topic and wait a second or two.
var properties = template.Must(template.New("server.properties").Parse(`
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{{.Controller}}
listeners=PLAINTEXT://{{.Broker}},CONTROLLER://{{.Controller}}
advertised.listeners=PLAINTEXT://{{.Broker}}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={{.Dir}}/log

auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000

log.cleaner.backoff.ms=1000
log.cleaner.min.cleanable.ratio=0.01
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=500
`))

type broker struct {
	addr string
	done chan struct{} // closed when the process is gone
	cmd  *exec.Cmd
	dir  string
}

// startBroker formats a temporary directory, starts Kafka in it and returns once it answers.
func startBroker(ctx context.Context, java, jars string) (_ *broker, err error) {
	dir, err := os.MkdirTemp("", "countersign-kafka-")
	if err != nil {
		return nil, fmt.Errorf("creating the broker's directory: %w", err)
	}
	b := &broker{dir: dir, done: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.stop())
		}
	}()
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	b.addr = addrs[0]
	config := filepath.Join(dir, "server.properties")
	var text bytes.Buffer
	if err := properties.Execute(&text, map[string]string{"Broker": addrs[0], "Controller": addrs[1], "Dir": dir}); err != nil {
		return nil, fmt.Errorf("writing the broker's configuration: %w", err)
	}
	if err := os.WriteFile(config, text.Bytes(), 0o600); err != nil {
		return nil, fmt.Errorf("writing the broker's configuration: %w", err)
	}
	kafkaMain := func(ctx context.Context, class string, args ...string) *exec.Cmd {
		return exec.CommandContext(ctx, java, append([]string{
			"-cp", filepath.Join(jars, "*"), "-Xms256m", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
			"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
			class,
		}, args...)...)
	}
	format := kafkaMain(ctx, "kafka.tools.StorageTool", "format", "--cluster-id", newClusterID(), "--config", config)
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("formatting Kafka's directory: %w\n%s", err, bytes.TrimSpace(out))
	}
	log, err := os.Create(b.logFile())
	if err != nil {
		return nil, fmt.Errorf("creating the broker's log: %w", err)
	}
	defer log.Close()
	// Not the caller's context: stop ends the broker, after the command that uses it.
	cmd := kafkaMain(context.WithoutCancel(ctx), "kafka.Kafka", config)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = processAttributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting Kafka: %w", err)
	}
	b.cmd = cmd
	go func() {
		defer close(b.done)
		_ = cmd.Wait() // the log tells more than the exit status
	}()
	return b, b.ready(ctx)
}

// ready waits until the broker has registered, answers a metadata request and can coordinate groups: asking for a
// coordinator makes it create its offsets topic, and no test has to wait for that.
func (b *broker) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := &kafka.Client{Addr: kafka.TCP(b.addr), Timeout: 2 * time.Second}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := b.answers(ctx, client)
		if err == nil {
			return nil
		}
		select {
		case <-b.done:
			return fmt.Errorf("broker ended at its start:\n%s", b.logTail())
		case <-ctx.Done():
			return fmt.Errorf("waiting for the broker: %w, last answer: %w\n%s", ctx.Err(), err, b.logTail())
		case <-tick.C:
		}
	}
}

func (b *broker) answers(ctx context.Context, client *kafka.Client) error {
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return fmt.Errorf("asking for metadata: %w", err)
	}
	if len(meta.Brokers) != 1 {
		return fmt.Errorf("broker has not registered yet: %d in the metadata", len(meta.Brokers))
	}
	coordinator, err := client.FindCoordinator(ctx, &kafka.FindCoordinatorRequest{Key: "ready", KeyType: kafka.CoordinatorKeyTypeConsumer})
	if err == nil {
		err = coordinator.Error
	}
	if err != nil {
		return fmt.Errorf("asking for a group coordinator: %w", err)
	}
	return nil
}

// stop ends the broker, by force if it takes long, and removes its directory. It may be called on a half-started broker.
func (b *broker) stop() error {
	if b.cmd != nil {
		_ = b.cmd.Process.Signal(syscall.SIGTERM) // an error means that it is gone already
		select {
		case <-b.done:
		case <-time.After(stopTimeout):
			_ = b.cmd.Process.Kill()
			<-b.done
		}
	}
	if err := os.RemoveAll(b.dir); err != nil {
		return fmt.Errorf("removing the broker's directory: %w", err)
	}
	return nil
}

func (b *broker) logFile() string { return filepath.Join(b.dir, "broker.log") }

// logTail is the end of the broker's log, for error messages.
func (b *broker) logTail() string {
	const most = 4 << 10
	f, err := os.Open(b.logFile())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-most), io.SeekStart)
	}
	tail, _ := io.ReadAll(f)
	return strings.TrimSpace(string(tail))
}

// freeAddrs finds n free loopback addresses. Kafka must know its ports beforehand, so another process could still take
// one in between; the broker then ends with a clear line in its log.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		defer l.Close() // only after all are found, so that none comes twice
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

func newClusterID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(id[:])
}
