package broker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/countersign-io/countersign/internal/embedded/broker"
	"github.com/countersign-io/countersign/internal/kafkatest"
)

// childEnv holds a data directory: with it set the test binary is a broker that runs until its standard input closes.
const childEnv = "COUNTERSIGN_BROKER_TEST_DIR"

func TestMain(m *testing.M) {
	dir, child := os.LookupEnv(childEnv)
	if !child {
		os.Exit(m.Run())
	}
	b, err := broker.Start(broker.Config{DataDir: dir})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("addr:", b.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // the parent's death or Close of the pipe ends the child
	if err := b.Close(); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func start(t *testing.T, dir string) *broker.Broker {
	t.Helper()
	b, err := broker.Start(broker.Config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func clientOf(addr string) *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(addr), Timeout: 10 * time.Second, Transport: &kafka.Transport{}}
}

// produce writes n records named prefix-0... to a partition as one batch.
func produce(ctx context.Context, client *kafka.Client, topic string, partition int, prefix string, n int) error {
	records := make([]kafka.Record, n)
	for i := range records {
		text := fmt.Sprintf("%s-%d", prefix, i)
		records[i] = kafka.Record{Key: kafka.NewBytes([]byte(text)), Value: kafka.NewBytes([]byte("value of " + text))}
	}
	answer, err := client.Produce(ctx, &kafka.ProduceRequest{
		Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll, Compression: kafka.Lz4, Records: kafka.NewRecordReader(records...),
	})
	if err != nil {
		return err
	}
	return answer.Error
}

// keys reads all keys of a partition.
func keys(t *testing.T, client *kafka.Client, topic string, partition int) []string {
	t.Helper()
	var got []string
	for offset := int64(0); ; {
		answer, err := client.Fetch(t.Context(), &kafka.FetchRequest{
			Topic: topic, Partition: partition, Offset: offset, MinBytes: 1, MaxBytes: 4 << 20, MaxWait: 100 * time.Millisecond,
		})
		if err == nil {
			err = answer.Error
		}
		if err != nil {
			t.Fatalf("fetching %s/%d at %d: %v", topic, partition, offset, err)
		}
		for {
			r, err := answer.Records.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Offset < offset {
				continue
			}
			key, err := io.ReadAll(r.Key)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(key))
			offset = r.Offset + 1
		}
		if offset >= answer.HighWatermark {
			return got
		}
	}
}

func clusterID(t *testing.T, client *kafka.Client) string {
	t.Helper()
	meta, err := client.Metadata(t.Context(), &kafka.MetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return meta.ClusterID
}

func TestRestartKeepsRecordsOffsetsSettingsAndIdentity(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const topic, group = "restart", "readers"

	first := start(t, dir)
	kafkatest.CreateTopic(t, []string{first.Addr()}, topic, 2, map[string]string{"cleanup.policy": "compact"})
	client := clientOf(first.Addr())
	id := clusterID(t, client)
	for partition := range 2 {
		if err := produce(t.Context(), client, topic, partition, "p"+strconv.Itoa(partition), 10*(partition+1)); err != nil {
			t.Fatal(err)
		}
	}
	commit, err := client.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: 7}, {Partition: 1, Offset: 13}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range commit.Topics[topic] {
		if p.Error != nil {
			t.Fatal(p.Error)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatalf("closing: %v", err)
	}

	second := start(t, dir)
	client = clientOf(second.Addr())
	if got := clusterID(t, client); got != id {
		t.Errorf("cluster id %s after the restart, want %s", got, id)
	}
	for partition, want := range []int{10, 20} {
		if got := keys(t, client, topic, partition); len(got) != want || got[0] != fmt.Sprintf("p%d-0", partition) {
			t.Errorf("partition %d holds %d records starting at %v, want %d", partition, len(got), got[:min(1, len(got))], want)
		}
	}
	offsets, err := client.OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range offsets.Topics[topic] {
		if want := []int64{7, 13}[p.Partition]; p.CommittedOffset != want {
			t.Errorf("group offset of partition %d is %d, want %d", p.Partition, p.CommittedOffset, want)
		}
	}
	configs, err := client.DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"cleanup.policy"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if entries := configs.Resources[0].ConfigEntries; len(entries) != 1 || entries[0].ConfigValue != "compact" {
		t.Errorf("cleanup.policy after the restart: %+v, want compact", entries)
	}
	// The log goes on where it ended.
	if err := produce(t.Context(), client, topic, 0, "later", 1); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, client, topic, 0); len(got) != 11 || got[10] != "later-0" {
		t.Errorf("partition 0 holds %d records after one more, want 11", len(got))
	}
}

// child is a broker in a process of its own.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

// startChild runs a broker on dir in another process and waits for its address. A refusal is returned as text.
func startChild(t *testing.T, dir string) (*child, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, stdin: stdin}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("child said nothing: %v", err)
	}
	if problem, failed := strings.CutPrefix(line, "error: "); failed {
		return nil, strings.TrimSpace(problem)
	}
	c.addr = strings.TrimSpace(strings.TrimPrefix(line, "addr: "))
	return c, ""
}

// TestKillLosesNoAcknowledgedRecord kills the broker in the midst of produces, several times over the same log, and
// looks for every acknowledged record afterwards.
func TestKillLosesNoAcknowledgedRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const topic, rounds, perBatch = "kill", 5, 50
	acked := map[string]bool{}
	id := ""
	for round := range rounds {
		c, problem := startChild(t, dir)
		if problem != "" {
			t.Fatal(problem)
		}
		client := clientOf(c.addr)
		if round == 0 {
			kafkatest.CreateTopic(t, []string{c.addr}, topic, 1, nil)
			id = clusterID(t, client)
		}
		// Kill at a different moment each round, counted in batches, while the next batch is on its way.
		killAfter := 3 + 4*round
		killed := make(chan struct{})
		for batch := 0; ; batch++ {
			if batch == killAfter {
				go func() {
					defer close(killed)
					_ = c.cmd.Process.Kill()
				}()
			}
			prefix := fmt.Sprintf("r%d-b%d", round, batch)
			if err := produce(t.Context(), client, topic, 0, prefix, perBatch); err != nil {
				if batch < killAfter {
					t.Fatalf("round %d, batch %d went wrong before the kill: %v", round, batch, err)
				}
				break
			}
			for i := range perBatch {
				acked[fmt.Sprintf("%s-%d", prefix, i)] = true
			}
		}
		<-killed
		_ = c.cmd.Wait()
	}

	b := start(t, dir)
	client := clientOf(b.Addr())
	if got := clusterID(t, client); got != id {
		t.Errorf("cluster id %s after the kills, want %s", got, id)
	}
	stored := map[string]bool{}
	for _, key := range keys(t, client, topic, 0) {
		if stored[key] {
			t.Errorf("%s is stored twice", key)
		}
		stored[key] = true
	}
	for key := range acked {
		if !stored[key] {
			t.Errorf("%s was acknowledged and is lost", key)
		}
	}
	if extra := len(stored) - len(acked); extra < 0 || extra > rounds*perBatch {
		t.Errorf("%d records beyond the acknowledged %d, want at most one batch a round", extra, len(acked))
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, dir)
	_, problem := startChild(t, dir)
	if want := fmt.Sprintf("data directory in use by process %d", os.Getpid()); !strings.Contains(problem, want) {
		t.Errorf("child said %q, want %q in it", problem, want)
	}
	// The same goes for a second broker in this process.
	if _, err := broker.Start(broker.Config{DataDir: dir}); !errors.Is(err, broker.ErrInUse) {
		t.Errorf("second Start: %v, want ErrInUse", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	c, problem := startChild(t, dir)
	if problem != "" {
		t.Fatalf("after Close: %s", problem)
	}
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("child ended with %v", err)
	}
}

func TestFixedPortIsAdvertisedAndListenedOn(t *testing.T) {
	t.Parallel()
	// Let a broker find a free port, then ask another for exactly that one.
	free := start(t, t.TempDir())
	_, text, err := net.SplitHostPort(free.Addr())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	_, err = broker.Start(broker.Config{DataDir: t.TempDir(), Port: port})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("taken port: %v, want 'address already in use'", err)
	}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := broker.Start(broker.Config{DataDir: t.TempDir(), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Addr() != free.Addr() {
		t.Fatalf("listens on %s, want %s", b.Addr(), free.Addr())
	}
	meta, err := clientOf(b.Addr()).Metadata(t.Context(), &kafka.MetadataRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(meta.Brokers) != 1 || meta.Brokers[0].Host != "127.0.0.1" || meta.Brokers[0].Port != port {
		t.Errorf("advertises %+v, want 127.0.0.1:%d alone", meta.Brokers, port)
	}
}

func TestBadConfigIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "meta.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, "meta.json"), []byte(`{"version":99,"cluster_id":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		config broker.Config
		want   []string
	}{
		"everything wrong": {broker.Config{Port: 70000}, []string{"data_dir: empty", "port: 70000"}},
		"negative port":    {broker.Config{DataDir: broken, Port: -1}, []string{"port: -1"}},
		"directory a file": {broker.Config{DataDir: file}, []string{"data directory", file}},
		"broken state":     {broker.Config{DataDir: broken}, []string{broken, "meta.json"}},
		"newer state":      {broker.Config{DataDir: newer}, []string{newer, "version 99"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := broker.Start(tc.config)
			if err == nil {
				_ = b.Close()
				t.Fatal("started")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %q", err, want)
				}
			}
			// A refused start frees the directory: the same error, not ErrInUse, comes again.
			if _, again := broker.Start(tc.config); again == nil || errors.Is(again, broker.ErrInUse) {
				t.Errorf("second start: %v", again)
			}
		})
	}
}

func TestCloseReportsStateThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	core, logs := observer.New(zapcore.DebugLevel)
	b, err := broker.Start(broker.Config{DataDir: dir, Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	// A directory in the place of a state file cannot be replaced, whoever the user is.
	state := filepath.Join(dir, "topics.json")
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(state, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	err = b.Close()
	if err == nil || !strings.Contains(err.Error(), "topics.json") {
		t.Fatalf("Close: %v, want an error about topics.json", err)
	}
	if again := b.Close(); again == nil || again.Error() != err.Error() {
		t.Errorf("second Close: %v, want the first one's error", again)
	}
	if logs.Len() != 0 {
		t.Errorf("logged what was returned: %v", logs.All())
	}
}
