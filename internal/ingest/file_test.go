package ingest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/native"
	"github.com/countersign-io/countersign/internal/stream"
)

// stuckLog fails after some chunks of events.
type stuckLog struct {
	log
	chunks int
}

var errStuck = errors.New("stuck")

func (l *stuckLog) Publish(ctx context.Context, topic string, records []stream.Record) error {
	if topic == events.TopicEvents {
		if l.chunks == 0 {
			return errStuck
		}
		l.chunks--
	}
	return l.log.Publish(ctx, topic, records)
}

func writeRecords(t *testing.T, name string, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var w io.WriteCloser = f
	if strings.HasSuffix(name, ".gz") {
		w = gzip.NewWriter(f)
	}
	for i := range n {
		if i == n/2 {
			fmt.Fprintln(w, `{"kind":`)
		}
		fmt.Fprintln(w, line(fmt.Sprint(i), ""))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	return path
}

func TestInterruptedFileGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"records.ndjson", "records.ndjson.gz"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 10_500
			path := writeRecords(t, name, n)
			o := FileOptions{
				Source: Source{Name: "file", Decoder: native.Decoder{}, Format: FormatEvent}, Cursor: filepath.Join(t.TempDir(), "state", "cursor"),
			}
			to := &stuckLog{chunks: 4}
			if _, err := newPipeline(t, to).File(t.Context(), path, o); !errors.Is(err, errStuck) {
				t.Fatalf("first run: %v", err)
			}
			first := len(to.events)
			if first == 0 || first > n/2 {
				t.Fatalf("the first run put %d events on the log", first)
			}
			// Another process goes on: nothing is remembered but the cursor.
			to.chunks = n
			var last int64
			o.Progress = func(read, size int64) {
				if read < last || read > size {
					t.Errorf("progress %d after %d of %d", read, last, size)
				}
				last = read
			}
			result, err := newPipeline(t, to).File(t.Context(), path, o)
			if err != nil {
				t.Fatal(err)
			}
			if result.Accepted != n || result.Rejected != 1 || result.Rejections[0].Line != n/2+1 {
				t.Errorf("both runs together: %d accepted, %d rejected, %+v", result.Accepted, result.Rejected, result.Rejections)
			}
			ids := map[string]bool{}
			for _, e := range to.events {
				ids[e.ID] = true
			}
			if len(ids) != n || len(to.events) > n+2*chunkEvents || len(to.events) == n+first {
				t.Errorf("%d different events in %d records on the log, %d of the first run", len(ids), len(to.events), first)
			}
			if _, err := os.Stat(o.Cursor); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the cursor is still there: %v", err)
			}
		})
	}
}

// What was refused in the chunk that did not get through is read, and told, again: it must count once.
func TestRefusedRecordsOfAnInterruptedFileCountOnce(t *testing.T) {
	t.Parallel()
	const n = 3*chunkEvents + 500
	path := writeRecords(t, "records.ndjson", n) // the bad record is in the second chunk
	o := FileOptions{Source: Source{Name: "file", Decoder: native.Decoder{}, Format: FormatEvent}, Cursor: filepath.Join(t.TempDir(), "cursor")}
	to := &stuckLog{chunks: 1}
	if _, err := newPipeline(t, to).File(t.Context(), path, o); !errors.Is(err, errStuck) {
		t.Fatalf("first run: %v", err)
	}
	to.chunks = n
	result, err := newPipeline(t, to).File(t.Context(), path, o)
	if err != nil || result.Accepted != n || result.Rejected != 1 || len(result.Rejections) != 1 {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestFileEndsWithItsContext(t *testing.T) {
	t.Parallel()
	path := writeRecords(t, "records.ndjson", 3*chunkEvents)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	to := &log{}
	o := FileOptions{Source: Source{Name: "file", Decoder: native.Decoder{}, Format: FormatEvent}}
	if _, err := newPipeline(t, to).File(ctx, path, o); !errors.Is(err, context.Canceled) || len(to.events) > 0 {
		t.Errorf("%v, and %d events on the log", err, len(to.events))
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	notGzip := filepath.Join(dir, "x.gz")
	if err := os.WriteFile(notGzip, []byte(line("a", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	o := FileOptions{Source: Source{Name: "file", Decoder: native.Decoder{}, Format: FormatEvent}}
	for _, path := range []string{filepath.Join(dir, "missing"), dir, notGzip} {
		if _, err := newPipeline(t, &log{}).File(t.Context(), path, o); err == nil || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestCursorOfAnotherFileIsNotUsed(t *testing.T) {
	t.Parallel()
	path := writeRecords(t, "a", 10)
	o := FileOptions{Source: Source{Name: "file", Decoder: native.Decoder{}, Format: FormatEvent}, Cursor: filepath.Join(t.TempDir(), "cursor")}
	if err := saveCursor(o.Cursor, cursor{Head: "another", Offset: 300, Line: 4, Layout: lines}); err != nil {
		t.Fatal(err)
	}
	to := &log{}
	result, err := newPipeline(t, to).File(t.Context(), path, o)
	if err != nil || result.Accepted != 10 {
		t.Errorf("%d accepted, %v", result.Accepted, err)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("{\"a\":1}\n{\"b\":\"}\"}\n"), uint8(3))
	f.Add([]byte(`[{"a":[1,2]},{"b":{}} , 3]`), uint8(1))
	f.Add([]byte("{\n\"a\":1}\n{\n\"b\":2}"), uint8(200))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		const limit = 64
		s := newSplitter(&slowReader{in: in, step: int(step)%7 + 1}, limit, undecided, 0)
		defer s.release()
		for n := 0; ; n++ {
			v, err := s.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatalf("a reader without errors: %v", err)
			}
			if len(v.bytes) > limit || len(v.bytes) > v.size || n > len(in)+1 {
				t.Fatalf("value %d of %d bytes, size %d", n, len(v.bytes), v.size)
			}
		}
	})
}

// slowReader gives few bytes at a time.
type slowReader struct {
	in   []byte
	step int
}

func (r *slowReader) Read(b []byte) (int, error) {
	if len(r.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.in[:min(r.step, len(r.in))])
	r.in = r.in[n:]
	return n, nil
}
