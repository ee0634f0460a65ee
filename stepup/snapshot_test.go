package stepup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func snapshot(t testing.TB, x *Index) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := x.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestARestoredIndexAnswersAndRefusesAsTheFirst plays random changes, and then the same ones again against the copy: what
// was closed stays closed there too.
func TestARestoredIndexAnswersAndRefusesAsTheFirst(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first, err := NewIndex(IndexConfig{})
		if err != nil {
			t.Fatal(err)
		}
		draw := func() Claims {
			n := rapid.IntRange(0, 19).Draw(t, "requirement")
			c := change(fmt.Sprint("r", n), fmt.Sprint("u", n%5), []string{"", "s1", "s2"}[n%3],
				rapid.SampledFrom([]Status{StatusOpen, StatusOpen, StatusSatisfied, StatusExpired}).Draw(t, "status"))
			c.Requirement.Action = actions[n%3]
			c.Requirement.Reason = "<\u2028\"&>"
			return c
		}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			first.Apply(draw())
		}
		var b bytes.Buffer
		if err := first.Snapshot(&b); err != nil {
			t.Fatal(err)
		}
		copied, err := NewIndex(IndexConfig{})
		if err != nil {
			t.Fatal(err)
		}
		n, err := copied.Restore(iotest.OneByteReader(&b))
		if s := first.Stats(); err != nil || n != s.Open+s.Closed {
			t.Fatalf("%d of %+v restored: %v", n, s, err)
		}
		if _, fresh := copied.Fresh(); fresh {
			t.Fatal("a restored index is fresh")
		}
		same := func() {
			if diff := cmp.Diff(copied.Stats(), first.Stats()); diff != "" {
				t.Fatal(diff)
			}
			for u := range 5 {
				var all [2][]restraint
				for i, x := range []*Index{copied, first} {
					for r := range x.restraints("acme", fmt.Sprint("u", u)).all() {
						all[i] = append(all[i], *r)
					}
				}
				if diff := cmp.Diff(all[0], all[1], cmp.AllowUnexported(restraint{})); diff != "" {
					t.Fatalf("u%d (-copy, +first):\n%s", u, diff)
				}
			}
		}
		same()
		for range rapid.IntRange(0, 20).Draw(t, "more") {
			c := draw()
			if copied.Apply(c) != first.Apply(c) {
				t.Fatalf("%+v changes one of them only", c)
			}
		}
		same()
	})
}

func TestABadSnapshotIsAnErrorAndChangesNothing(t *testing.T) {
	t.Parallel()
	x := newIndex(t, IndexConfig{})
	x.Apply(change("r1", "u1", "", StatusOpen))
	x.Apply(change("r2", "u2", "s2", StatusSatisfied))
	x.Apply(change("r3", "u3", "", StatusExpired))
	good := snapshot(t, x)
	bad := map[string][]byte{
		"empty": nil, "another version": bytes.Replace(good, []byte("index 1"), []byte("index 2"), 1),
		"no tail": good[:bytes.LastIndex(good, []byte("end "))], "cut in the tail": good[:len(good)-1], "more behind": append(bytes.Clone(good), '\n'),
		"long line": append([]byte(snapshotHead), bytes.Repeat([]byte("x"), maxSnapshotLine+1)...), "endless head": bytes.Repeat([]byte("x"), 1<<20),
		"another user":  bytes.Replace(good, []byte(`"u1"`), []byte(`"u9"`), 1),
		"a line double": bytes.Replace(good, good[len(snapshotHead):bytes.Index(good, []byte("}\n"))+2], bytes.Repeat(good[len(snapshotHead):bytes.Index(good, []byte("}\n"))+2], 2), 1),
	}
	for i := range good {
		flipped := bytes.Clone(good)
		flipped[i] ^= 1
		bad[fmt.Sprint("bit in byte ", i)] = flipped
	}
	for name, b := range bad {
		fresh := newIndex(t, IndexConfig{})
		if n, err := fresh.Restore(bytes.NewReader(b)); !errors.Is(err, ErrSnapshot) || n != 0 || fresh.Stats() != (Stats{}) {
			t.Errorf("%s: %d restored, %v", name, n, err)
		}
	}
	if _, err := newIndex(t, IndexConfig{MaxOpen: 1}).Restore(bytes.NewReader(good)); !errors.Is(err, ErrSnapshot) {
		t.Errorf("three requirements into an index of two: %v", err)
	}
	broken := errors.New("broken disk")
	if _, err := newIndex(t, IndexConfig{}).Restore(iotest.ErrReader(broken)); !errors.Is(err, broken) || errors.Is(err, ErrSnapshot) {
		t.Errorf("a reader's error: %v", err)
	}
}

func TestRestoreForgetsWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newIndex(t, IndexConfig{})
		x.Apply(change("r1", "u1", "", StatusOpen))
		b := snapshot(t, x)
		time.Sleep(time.Hour)
		copied := newIndex(t, IndexConfig{})
		if n, err := copied.Restore(bytes.NewReader(b)); n != 0 || err != nil || copied.Stats() != (Stats{}) {
			t.Errorf("%d restored, %v", n, err)
		}
	})
}

func TestSnapshotFilesAreReplacedWhole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index")
	x := newIndex(t, IndexConfig{})
	if _, err := x.RestoreFile(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for i := range 3 {
		x.Apply(change(fmt.Sprint("r", i), fmt.Sprint("u", i), "", StatusOpen))
		if err := x.SnapshotFile(path); err != nil {
			t.Fatal(err)
		}
		copied := newIndex(t, IndexConfig{})
		if n, err := copied.RestoreFile(path); err != nil || n != i+1 || !isOpen(copied, fmt.Sprint("u", i), "") {
			t.Errorf("%d restored, %v", n, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := x.SnapshotFile(filepath.Join(path, "below", "a", "file")); err == nil {
		t.Error("no error for an impossible path")
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func FuzzRestore(f *testing.F) {
	x, err := NewIndex(IndexConfig{})
	if err != nil {
		f.Fatal(err)
	}
	x.Apply(change("r1", "u1", "s", StatusOpen))
	x.Apply(change("r2", "u2", "", StatusExpired))
	f.Add(snapshot(f, x))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := NewIndex(IndexConfig{MaxOpen: 8})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Restore(bytes.NewReader(b)); err != nil && x.Stats() != (Stats{}) {
			t.Error("an error, and something was taken in")
		}
		// A line by itself need not have the right checksum to reach the reader of lines.
		if c, err := readEntry(b); err == nil {
			x.Apply(c)
			x.Check(c.Requirement.Subject)
		}
	})
}
