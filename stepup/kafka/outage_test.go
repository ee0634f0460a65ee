package stepupkafka

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// lines is a log whose lines can be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.buf.String(), "\n"), "\n")
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestOutageIsToldWhenItBeginsEachMinuteAndWhenItIsOver(t *testing.T) {
	t.Parallel()
	var log lines
	o := outage{log: log.logger(), doing: "trying again", done: "it works again", calm: calm}
	began := time.Unix(1767225600, 0)
	at := began.Add
	err := errors.New("no route")
	o.well(at(-time.Hour)) // nothing was wrong
	for d := time.Duration(0); d < 150*time.Second; d += 100 * time.Millisecond {
		o.trouble(at(d), err)
	}
	o.well(at(151 * time.Second)) // too early to tell
	o.trouble(at(152*time.Second), err)
	o.well(at(156 * time.Second))
	o.well(at(158 * time.Second))
	o.trouble(at(160*time.Second), err) // another one
	want := []string{
		`level=WARN msg="trying again" tries=1 for=0s error="no route"`,
		`level=WARN msg="trying again" tries=601 for=1m0s error="no route"`,
		`level=WARN msg="trying again" tries=1201 for=2m0s error="no route"`,
		`level=INFO msg="it works again" tries=1501 after=2m36s`,
		`level=WARN msg="trying again" tries=1 for=0s error="no route"`,
	}
	if diff := cmp.Diff(log.all(), want); diff != "" {
		t.Errorf("log (-got, +want):\n%s", diff)
	}
}

// TestSubscriberDoesNotFillTheLog: every partition fails again and again, and the log has one line about it.
func TestSubscriberDoesNotFillTheLog(t *testing.T) {
	kafkatest.NeedFake(t)
	t.Parallel()
	fake := kafkatest.Fake(t)
	l := newLab(t, fake.Addrs())
	var log lines
	s := l.subscribe(func(c *Config) { c.Logger = log.logger() })
	s.await(t)
	away := []*kafkatest.FaultHandle{
		fake.DenyLeader(kafkatest.KeyListOffsets, l.topic, 1<<20), fake.DenyLeader(kafkatest.KeyFetch, l.topic, 1<<20),
	}
	kafkatest.Eventually(t, 30*time.Second, func() error {
		if got := s.Stats(); got.Trouble < 30 {
			return fmt.Errorf("stats %+v", got)
		}
		return nil
	})
	for _, f := range away {
		f.Remove()
	}
	kafkatest.Eventually(t, 30*time.Second, func() error {
		if all := strings.Join(log.all(), "\n"); !strings.Contains(all, "requirements are read again") {
			return fmt.Errorf("stats %+v, log:\n%s", s.Stats(), all)
		}
		return nil
	})
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, line := range log.all() {
		_, rest, _ := strings.Cut(line, `msg="`)
		msg, _, _ := strings.Cut(rest, `"`)
		count[msg]++
	}
	want := map[string]int{"reading requirements, trying again": 1, "requirements are read again": 1}
	if diff := cmp.Diff(count, want); diff != "" {
		t.Errorf("lines (-got, +want):\n%s\n%s", diff, strings.Join(log.all(), "\n"))
	}
}
