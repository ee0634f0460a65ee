package kafkatest

import (
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Transact appends values to a partition in one transaction and ends it, by a commit or an abort. Either leaves a control
// record behind the values, for which Transact waits: a broker writes it after it has answered.
func Transact(t testing.TB, brokers []string, topic string, partition int, commit bool, values ...string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.TransactionalID(Name("transaction")), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatalf("beginning a transaction: %v", err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatalf("beginning a transaction: %v", err)
	}
	records := make([]*kgo.Record, len(values))
	for i, v := range values {
		records[i] = &kgo.Record{Topic: topic, Partition: int32(partition), Key: []byte("k"), Value: []byte(v)}
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatalf("writing in a transaction: %v", err)
	}
	if err := client.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)); err != nil {
		t.Fatalf("ending a transaction: %v", err)
	}
	want := records[len(records)-1].Offset + 2
	Eventually(t, 30*time.Second, func() error {
		conn, err := kafka.DialLeader(t.Context(), "tcp", brokers[0], topic, partition)
		if err != nil {
			return err
		}
		defer conn.Close()
		end, err := conn.ReadLastOffset()
		if err == nil && end < want {
			err = fmt.Errorf("%s ends at %d, the transaction at %d", topic, end, want)
		}
		return err
	})
}
