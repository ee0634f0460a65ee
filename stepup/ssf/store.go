package stepupssf

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/countersign-io/countersign/stepup"
)

// Record is an accepted SET in a [Store].
type Record struct {
	// Issuer and JTI name it.
	Issuer string `json:"iss"`
	JTI    string `json:"jti"`
	// Claims is what it requires, Event what the application is to be told instead; both are nil where only the name
	// matters.
	Claims *stepup.Claims `json:"claims,omitempty"`
	Event  *Event         `json:"event,omitempty"`
	// Until is when Claims have no effect any more, Forget when no repeat of the SET can come any more.
	Until  time.Time `json:"until,omitzero"`
	Forget time.Time `json:"forget,omitzero"`
	// Done says that the application has been told.
	Done bool `json:"done,omitempty"`
}

// Store keeps what was accepted. [OpenStore] opens one in a file, which its opener closes after Run has returned. Its methods are called by several goroutines at once.
type Store interface {
	// Load hands out what is kept, in the order of acceptance. New calls it, before all else.
	Load(keep func(Record) error) error
	// Accept returns nil when the records will survive a crash of the machine, which takes as long as it takes; then the
	// transmitter is told that they were accepted. An error means that it is to send them again. [ErrStoreFull] is one.
	Accept(records ...Record) error
	// Done notes that the application was told of a SET. If the note is lost, it is told again.
	Done(issuer, jti string) error
}

// ErrStoreFull is returned when a store has as much as it may have, of what is still needed.
var ErrStoreFull = errors.New("the store is full")

// NoStore keeps nothing: what was accepted is lost when the application ends. It is for tests, and for applications that
// get the same decisions from Kafka as well.
var NoStore Store = noStore{}

type noStore struct{}

func (noStore) Load(func(Record) error) error { return nil }
func (noStore) Accept(...Record) error        { return nil }
func (noStore) Done(string, string) error     { return nil }

// DefaultStoreBytes is how large a store's file may be unless OpenStore is told otherwise: about 60,000 requirements.
const DefaultStoreBytes = 64 << 20

// The file is text: a line with format and version, then a line for every call of Accept and Done, which is the CRC-32C of
// the rest, a space, and JSON. A crash can only spoil the last line, whose call has not returned.
const (
	storeHead    = "countersign-ssf 1\n"
	maxStoreLine = 16 << 20
	// compactAfter is how many bytes are appended, at least, before the file is written anew.
	compactAfter = 1 << 20
	// compactEvery is how often a store that is full of what is needed is searched for what no longer is.
	compactEvery = 10 * time.Second
	// nameSize is about what a record takes of which only the name matters. They have half of the file at most.
	nameSize = 160
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// FileStore is a [Store] in a file. Accept appends and syncs, once for all calls that wait meanwhile. What is no longer
// needed is left out when the file is written anew, beside the old one, whose place it then takes.
type FileStore struct {
	path string
	max  int64
	lock io.Closer

	mu   sync.Mutex
	next *batch // whom others may join

	io    sync.Mutex // guards what follows
	file  *os.File
	size  int64 // of what is known to be whole
	base  int64 // size after the last compaction
	torn  bool  // there may be something behind size
	ended bool
	// compacted is when the file was last written anew.
	compacted time.Time
}

type batch struct {
	records []Record
	done    chan struct{}
	err     error
}

var _ Store = (*FileStore)(nil)

// OpenStore opens the store in the file at path, or makes it. One process at a time can have it open. maxBytes bounds the
// file; 0 is [DefaultStoreBytes]. While the file is written anew, there are two.
//
// A last line that is cut is what a crash leaves, and is dropped. Any other damage is an error that says where: the file
// may hold requirements, so it is for a person to decide to start without it.
func OpenStore(path string, maxBytes int64) (*FileStore, error) {
	if maxBytes < 0 {
		return nil, fmt.Errorf("stepupssf: opening store: %d bytes, must not be negative", maxBytes)
	}
	if maxBytes == 0 {
		maxBytes = DefaultStoreBytes
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("stepupssf: opening store: %w", err)
	}
	s := &FileStore{path: path, max: maxBytes, lock: lock}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("stepupssf: opening store: %w", err), lock.Close())
	}
	return s, nil
}

func (s *FileStore) open() error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	s.file = f
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if info.Size() < int64(len(storeHead)) { // new, or a crash when it was
		if err := s.begin(); err != nil {
			return errors.Join(err, f.Close())
		}
		return nil
	}
	end, err := scan(f, func([]Record) error { return nil })
	if err == nil && end < info.Size() {
		err = f.Truncate(end)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.size, s.base = end, end
	return nil
}

// begin writes the head of a new file.
func (s *FileStore) begin() error {
	if err := s.file.Truncate(0); err != nil {
		return err
	}
	if _, err := s.file.WriteAt([]byte(storeHead), 0); err != nil {
		return err
	}
	s.size, s.base = int64(len(storeHead)), int64(len(storeHead))
	return errors.Join(s.file.Sync(), syncDir(s.path))
}

// scan reads a file's lines, and returns where the last whole one ends.
func scan(r io.ReaderAt, each func([]Record) error) (int64, error) {
	lines := bufio.NewReaderSize(io.NewSectionReader(r, 0, 1<<62), 64<<10)
	head := make([]byte, len(storeHead))
	if _, err := io.ReadFull(lines, head); err != nil || string(head) != storeHead {
		return 0, fmt.Errorf("it does not begin with %q", storeHead)
	}
	end := int64(len(storeHead))
	for n := 2; ; n++ {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			return end, nil // what is cut was never accepted
		}
		if err != nil {
			return end, fmt.Errorf("line %d: %w", n, err)
		}
		records, err := parseLine(line)
		if err != nil {
			if _, more := lines.Peek(1); errors.Is(more, io.EOF) {
				return end, nil // so is a last line whose bytes were not all written
			}
			return end, fmt.Errorf("line %d: %w", n, err)
		}
		if err := each(records); err != nil {
			return end, err
		}
		end += int64(len(line))
	}
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > maxStoreLine:
			return nil, fmt.Errorf("it is longer than %d bytes", maxStoreLine)
		}
	}
}

func parseLine(line []byte) ([]Record, error) {
	sum, text, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
	if !ok || string(sum) != fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli)) {
		return nil, errors.New("its checksum is not right")
	}
	var records []Record
	if err := json.Unmarshal(text, &records); err != nil {
		return nil, err
	}
	return records, nil
}

func formatLine(records []Record) ([]byte, error) {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	if err := out.Encode(records); err != nil { // ends with the line break
		return nil, err
	}
	sum := crc32.Checksum(text.Bytes()[:text.Len()-1], castagnoli)
	return append(fmt.Appendf(nil, "%08x ", sum), text.Bytes()...), nil
}

// Load hands out what is kept and still needed.
func (s *FileStore) Load(keep func(Record) error) error {
	s.io.Lock()
	defer s.io.Unlock()
	records, err := s.needed(time.Now())
	if err != nil {
		return fmt.Errorf("reading the store: %w", err)
	}
	for i := range records {
		if err := keep(records[i]); err != nil {
			return err
		}
	}
	return nil
}

// needed reads the file and returns what is needed at the time, in order.
func (s *FileStore) needed(now time.Time) ([]Record, error) {
	if s.ended {
		return nil, os.ErrClosed
	}
	var all []Record
	at := map[id]int{}
	if _, err := scan(io.NewSectionReader(s.file, 0, s.size), func(records []Record) error {
		for _, r := range records {
			key := idOf(r.Issuer, r.JTI)
			if i, known := at[key]; known {
				all[i].Done = all[i].Done || r.Done
				continue
			}
			if r.Claims == nil && r.Event == nil && r.Forget.IsZero() {
				continue // a note about what is gone
			}
			at[key] = len(all)
			all = append(all, r)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	names := 0
	for i := range all {
		r := &all[i]
		if r.Done {
			r.Event = nil
		}
		if !r.Until.After(now) {
			r.Claims = nil
		}
		if r.Claims == nil && r.Event == nil {
			names++
		}
	}
	names -= int(min(maxKnown, s.max/2/nameSize)) // so many of the oldest are too many
	return slices.DeleteFunc(all, func(r Record) bool {
		if r.Claims != nil || r.Event != nil {
			return false
		}
		names--
		return names >= 0 || !r.Forget.After(now)
	}), nil
}

// Accept appends the records and returns when they are on the disk.
func (s *FileStore) Accept(records ...Record) error {
	s.mu.Lock()
	b, first := s.next, s.next == nil
	if first {
		b = &batch{done: make(chan struct{})}
		s.next = b
	}
	b.records = append(b.records, records...)
	s.mu.Unlock()
	if !first {
		<-b.done
		return b.err
	}
	s.io.Lock() // while another batch is written, more join this one
	defer s.io.Unlock()
	s.mu.Lock()
	s.next = nil
	s.mu.Unlock()
	b.err = s.append(b.records, true)
	close(b.done)
	return b.err
}

// Done notes that the application was told.
func (s *FileStore) Done(issuer, jti string) error {
	s.io.Lock()
	defer s.io.Unlock()
	return s.append([]Record{{Issuer: issuer, JTI: jti, Done: true}}, false)
}

func (s *FileStore) append(records []Record, durable bool) error {
	if s.ended {
		return fmt.Errorf("writing to the store: %w", os.ErrClosed)
	}
	line, err := formatLine(records)
	if err != nil {
		return fmt.Errorf("writing to the store: %w", err)
	}
	n := int64(len(line))
	if n > maxStoreLine {
		return fmt.Errorf("writing to the store: %w", ErrStoreFull)
	}
	full := s.size+n > s.max && (s.size-s.base > s.max/8 || time.Since(s.compacted) > compactEvery)
	if s.torn || full || s.size > 2*s.base+compactAfter {
		if err := s.compact(); err != nil {
			return fmt.Errorf("writing the store anew: %w", err)
		}
	}
	if s.size+n > s.max {
		return fmt.Errorf("writing to the store: %w: it may have %d bytes", ErrStoreFull, s.max)
	}
	_, err = s.file.WriteAt(line, s.size)
	if err == nil && durable {
		err = s.file.Sync()
	}
	if err != nil {
		// What is on the disk now is unknown, and a second sync would not tell either.
		s.torn = true
		return fmt.Errorf("writing to the store: %w", err)
	}
	s.size += n
	return nil
}

// compact writes what is needed to a new file, which takes the place of the old one.
func (s *FileStore) compact() error {
	now := time.Now()
	records, err := s.needed(now)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	size, err := write(f, records)
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	old := s.file
	s.file, s.size, s.base, s.torn, s.compacted = f, size, size, false, now
	return errors.Join(old.Close(), syncDir(s.path))
}

// write fills a new file and makes it durable.
func write(f *os.File, records []Record) (size int64, err error) {
	out := bufio.NewWriter(f)
	n, err := out.WriteString(storeHead)
	size = int64(n)
	for i := range records {
		if err != nil {
			return size, err
		}
		var line []byte
		if line, err = formatLine(records[i : i+1]); err == nil {
			n, err = out.Write(line)
			size += int64(n)
		}
	}
	return size, errors.Join(err, out.Flush(), f.Sync())
}

// Close closes the file.
func (s *FileStore) Close() error {
	s.io.Lock()
	defer s.io.Unlock()
	if s.ended {
		return nil
	}
	s.ended = true
	return errors.Join(s.file.Sync(), s.file.Close(), s.lock.Close())
}

// syncDir makes a new name of the file durable.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
