package backtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"

	"github.com/countersign-io/countersign/internal/events"
)

// File is a source that reads a file of events in their wire form (schemas/event.json), one a line, plain or gzip. Their
// order is that of the decisions.
type File struct{ Path string }

var _ Source = File{}

// Replay reads the file once. Events are checked as ingest checks them, but not enriched: their places and networks are
// those of the file.
func (f File) Replay(ctx context.Context, q Query, take func(*events.Event) error, progress func(done float64)) (problems Problems, err error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return problems, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return problems, err
	}
	if info.IsDir() {
		return problems, fmt.Errorf("%s is a directory, must be a file of events", f.Path)
	}
	position := &counter{in: file}
	in := bufio.NewReaderSize(position, 1<<20)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzip, err := gzip.NewReader(in)
		if err != nil {
			return problems, fmt.Errorf("unpacking %s: %w", f.Path, err)
		}
		in = bufio.NewReaderSize(unzip, 1<<20)
	}
	var line []byte
	for number := 1; ; number++ {
		if number%256 == 0 {
			if err := ctx.Err(); err != nil {
				return problems, err
			}
			if info.Size() > 0 {
				progress(min(1, float64(position.n)/float64(info.Size())))
			}
		}
		var whole bool
		line, whole, err = readLine(in, line)
		if errors.Is(err, io.EOF) {
			return problems, nil
		}
		if err != nil {
			return problems, fmt.Errorf("reading %s, line %d: %w", f.Path, number, err)
		}
		if whole && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		e, err := parse(bytes.TrimSpace(line), whole)
		if err != nil {
			if err := problems.add(number, err); err != nil {
				return problems, fmt.Errorf("reading %s: %w", f.Path, err)
			}
			continue
		}
		if !q.Covers(e.Tenant, e.Time) {
			continue
		}
		if err := take(e); err != nil {
			return problems, err
		}
	}
}

// parse reads one event. whole is false for a line that was too long to keep.
func parse(line []byte, whole bool) (*events.Event, error) {
	if !whole {
		return nil, events.ErrTooLarge
	}
	e, err := events.Decode(line)
	if err != nil {
		return nil, err
	}
	e.Clean()
	if e.ID == "" {
		e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	}
	return e, e.Validate()
}

// readLine reads a line without its end into buf. whole is false when it is longer than an event can be. At the end it
// returns io.EOF.
func readLine(in *bufio.Reader, buf []byte) (line []byte, whole bool, err error) {
	line = buf[:0]
	for size := 0; ; {
		piece, err := in.ReadSlice('\n')
		if size += len(piece); size <= events.MaxRecord+2 {
			line = append(line, piece...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) && size > 0 {
			err = nil
		}
		return line, size <= events.MaxRecord+2, err
	}
}

// counter counts what was read.
type counter struct {
	in io.Reader
	n  int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.n += int64(n)
	return n, err
}
