package stepup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"time"
)

// A snapshot is text: a line with format and version, one line of JSON for every requirement, and a last line with their
// number and the SHA-256 of all before it.
const (
	snapshotHead = "countersign-index 1\n"
	snapshotTail = "end "
	// maxSnapshotLine bounds one requirement: the largest that ParseClaims makes, every byte escaped.
	maxSnapshotLine = 64 << 10
)

// ErrSnapshot is in every error of [Index.Restore] about what it read; then nothing of it was taken in.
var ErrSnapshot = errors.New("no good snapshot of an index")

// entry is one requirement in a snapshot. An ended one has only its names and Expires.
type entry struct {
	Status   Status       `json:"status"`
	ClosedAt int64        `json:"closed_at,omitempty"` // Unix nanoseconds
	Ended    *endedEntry  `json:"ended,omitempty"`
	Known    *Requirement `json:"requirement,omitempty"`
}

type endedEntry struct {
	ID, Tenant, User string
	Expires          time.Time
}

// Snapshot writes what the index holds, so that [Index.Restore] can fill another one. It holds up changes, but no look-ups,
// while it notes what there is, about a second with a million requirements; then it takes less than 10 microseconds and 400
// bytes for each, and Restore about 15 microseconds. BenchmarkSnapshotMillion measures them. What it writes names users and
// sessions: keep it as you keep logs of sign-ins.
func (x *Index) Snapshot(w io.Writer) error {
	all := x.entries()
	sum := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)
	if _, err := buffered.WriteString(snapshotHead); err != nil {
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	lines := json.NewEncoder(buffered)
	lines.SetEscapeHTML(false)
	for i := range all {
		if err := lines.Encode(&all[i]); err != nil {
			return fmt.Errorf("writing a snapshot: %w", err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s%d %x\n", snapshotTail, len(all), sum.Sum(nil)); err != nil {
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	return nil
}

// entries notes what there is. What restrains a user is never changed, only replaced, so it may be read later.
func (x *Index) entries() []entry {
	x.writing.Lock()
	defer x.writing.Unlock()
	x.sweep(time.Now().UnixNano())
	all := make([]entry, 0, len(x.known))
	for _, rec := range x.known {
		if rec.state == StatusExpired {
			all = append(all, entry{Status: rec.state, Ended: &endedEntry{rec.id, rec.tenant, rec.user, time.Unix(0, rec.expires).UTC()}})
			continue
		}
		who, _ := x.users.get(x.users.tag(rec.tenant, rec.user))
		for r := range who.all() {
			if r.ID == rec.id {
				all = append(all, entry{Status: rec.state, ClosedAt: r.closed, Known: &r.Requirement})
				break
			}
		}
	}
	return all
}

// Restore takes in what [Index.Snapshot] has written, as if each change came by [Index.Apply], and returns how many changed
// something. It reads everything before it takes anything in: a snapshot that is cut, damaged, of another version or too
// large for this index is an error with [ErrSnapshot], and leaves the index as it was.
//
// A restored index knows what was known then. It is not fresh: its feed has to tell what happened since. A requirement
// that was taken back meanwhile holds until the feed says so, or until it expires.
func (x *Index) Restore(r io.Reader) (int, error) {
	changes, err := readSnapshot(r, 2*x.cfg.MaxOpen)
	if err != nil {
		return 0, fmt.Errorf("reading a snapshot: %w", err)
	}
	n := 0
	for i := range changes {
		if x.Apply(changes[i]) {
			n++
		}
	}
	return n, nil
}

func readSnapshot(r io.Reader, limit int) ([]Claims, error) {
	lines := bufio.NewReaderSize(r, maxSnapshotLine)
	line, err := lines.ReadSlice('\n')
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull):
		return nil, err
	case string(line) != snapshotHead:
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrSnapshot, snapshotHead)
	}
	sum := sha256.New()
	sum.Write(line)
	var changes []Claims
	for n := 2; ; n++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("%w: it is cut in line %d", ErrSnapshot, n)
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("%w: line %d is longer than %d bytes", ErrSnapshot, n, maxSnapshotLine)
		case err != nil:
			return nil, err
		case bytes.HasPrefix(line, []byte(snapshotTail)):
			return changes, checkTail(line, len(changes), sum, lines)
		case len(changes) >= limit:
			return nil, fmt.Errorf("%w: it has more than %d requirements, for which this index has no room", ErrSnapshot, limit)
		}
		sum.Write(line)
		c, err := readEntry(line)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrSnapshot, n, err)
		}
		changes = append(changes, c)
	}
}

// checkTail judges the last line, behind which there must be nothing.
func checkTail(line []byte, n int, sum hash.Hash, rest *bufio.Reader) error {
	if want := fmt.Sprintf("%s%d %x\n", snapshotTail, n, sum.Sum(nil)); string(line) != want {
		return fmt.Errorf("%w: its checksum is not right", ErrSnapshot)
	}
	if _, err := rest.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: there is more behind its end", ErrSnapshot)
	}
	return nil
}

func readEntry(line []byte) (Claims, error) {
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return Claims{}, err
	}
	c := Claims{Status: e.Status}
	switch {
	case e.Status == StatusExpired && e.Ended != nil && e.Known == nil:
		c.Requirement = Requirement{
			ID: e.Ended.ID, Subject: Subject{Tenant: e.Ended.Tenant, User: e.Ended.User}, Expires: e.Ended.Expires,
			Action: ActionStepUp,
		}
	case (e.Status == StatusOpen || e.Status == StatusSatisfied) && e.Known != nil && e.Ended == nil:
		c.Requirement = *e.Known
	default:
		return Claims{}, fmt.Errorf("status %.40q does not go with what is said", e.Status)
	}
	if e.Status == StatusSatisfied {
		c.ClosedAt = time.Unix(0, e.ClosedAt).UTC()
	}
	r := &c.Requirement
	c.JTI = r.JTI
	if !slices.Contains(actions, r.Action) {
		return Claims{}, fmt.Errorf("action %.40q is unknown", r.Action)
	}
	return c, errors.Join(identity("requirement", r.ID, maxIdentity), r.check())
}

// SnapshotFile writes [Index.Snapshot] to the file at path: to another file first, which then takes its place, so that
// there is a whole one at any time. Only the owner may read it.
func (x *Index) SnapshotFile(path string) (err error) {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := x.Snapshot(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	return f.Close()
}

// RestoreFile is [Index.Restore] from the file at path. That there is no such file is an error with [os.ErrNotExist].
func (x *Index) RestoreFile(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("reading a snapshot: %w", err)
	}
	defer f.Close()
	return x.Restore(f)
}
