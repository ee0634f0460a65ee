package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	kgzip "github.com/klauspost/compress/gzip"
)

// FileOptions say how a file is taken in.
type FileOptions struct {
	Source Source
	// Cursor is the file that keeps how far an interrupted run came; empty keeps nothing.
	Cursor string
	// Progress, when set, is told after every chunk how many bytes of the file were read, of how many.
	Progress func(read, size int64)
}

// cursor is where to go on, and in which file: the hash of its beginning tells another file of the same name.
type cursor struct {
	Head   string `json:"head"`
	Offset int64  `json:"offset"`
	Line   int    `json:"line"`
	Layout layout `json:"layout"`
	Result Result `json:"result"`
}

// headSize is how much of a file tells it from others.
const headSize = 64 << 10

// File takes the records of a file in, NDJSON or JSON, plain or gzip (by the name's ending .gz). An interrupted run is
// gone on with where everything before is acknowledged; what is read twice has the same ids, so that it does no harm.
// The result covers all runs. The cursor is removed at the end.
func (p *Pipeline) File(ctx context.Context, path string, o FileOptions) (Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return Result{}, fmt.Errorf("reading records: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Result{}, fmt.Errorf("reading records: %w", err)
	}
	raw := &positionReader{in: f}
	c, err := loadCursor(o.Cursor, f)
	if err != nil {
		return Result{}, err
	}
	var in io.Reader = raw
	if strings.HasSuffix(path, ".gz") {
		unzip, err := kgzip.NewReader(raw)
		if err != nil {
			return Result{}, fmt.Errorf("reading %s: %w", path, err)
		}
		in = unzip
		if _, err := io.CopyN(io.Discard, in, c.Offset); err != nil {
			return Result{}, fmt.Errorf("going on in %s at %d: %w", path, c.Offset, err)
		}
	} else if raw.position, err = f.Seek(c.Offset, io.SeekStart); err != nil {
		return Result{}, fmt.Errorf("going on in %s at %d: %w", path, c.Offset, err)
	}

	intake := p.Intake(o.Source)
	intake.result = c.Result
	split := newSplitter(in, o.Source.Decoder.MaxValue(), c.Layout, c.Offset)
	split.number = c.Line
	defer split.release()
	next := c // where a run goes on, and with what result, once the chunk in flight is acknowledged
	for {
		v, err := split.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			result := intake.Abandon()
			return result, fmt.Errorf("reading %s at byte %d: %w", path, split.offset, err)
		}
		if v.err != nil {
			intake.Refuse(v.bytes, v.size, v.number, v.err)
		} else {
			intake.Add(v.bytes, v.number)
		}
		if !intake.Full() {
			continue
		}
		if err := intake.Flush(ctx); err != nil {
			return intake.Abandon(), err
		}
		// Flush returned: what was in flight before is acknowledged. What was refused since is read again.
		next.Result.Accepted = intake.result.Accepted
		if err := saveCursor(o.Cursor, next); err != nil {
			return intake.Abandon(), err
		}
		next.Offset, next.Line, next.Layout, next.Result = split.offset, split.number, split.layout, intake.result
		if o.Progress != nil {
			o.Progress(raw.position, info.Size())
		}
	}
	result, err := intake.Close(ctx)
	if err != nil {
		return result, err
	}
	if o.Progress != nil {
		o.Progress(info.Size(), info.Size())
	}
	if o.Cursor != "" {
		if err := os.Remove(o.Cursor); err != nil && !errors.Is(err, os.ErrNotExist) {
			return result, fmt.Errorf("removing the cursor: %w", err)
		}
	}
	return result, nil
}

// loadCursor returns where to go on: at the start, unless a run over this very file was interrupted.
func loadCursor(path string, f *os.File) (cursor, error) {
	head := make([]byte, headSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return cursor{}, fmt.Errorf("reading records: %w", err)
	}
	sum := sha256.Sum256(head[:n])
	start := cursor{Head: hex.EncodeToString(sum[:])}
	if path == "" {
		return start, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return start, nil
	}
	if err != nil {
		return cursor{}, fmt.Errorf("reading the cursor: %w", err)
	}
	var c cursor
	if err := json.Unmarshal(text, &c); err != nil || c.Head != start.Head {
		return start, nil //nolint:nilerr // of another file, or torn: reading again does no harm
	}
	return c, nil
}

// saveCursor replaces the cursor in one step, so that a crash leaves the old one or the new one.
func saveCursor(path string, c cursor) error {
	if path == "" {
		return nil
	}
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("writing the cursor: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing the cursor: %w", err)
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return fmt.Errorf("writing the cursor: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing the cursor: %w", err)
	}
	return nil
}

// positionReader knows how far it has read.
type positionReader struct {
	in       io.Reader
	position int64
}

func (r *positionReader) Read(b []byte) (int, error) {
	n, err := r.in.Read(b)
	r.position += int64(n)
	return n, err
}
