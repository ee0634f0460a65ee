package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/set"
)

// keyOf makes a key as old as said.
func keyOf(t *testing.T, dir string, age time.Duration) (kid string) {
	t.Helper()
	written := time.Now().Add(-age)
	path, key, err := set.NewKeyFile(dir, written)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, written, written); err != nil {
		t.Fatal(err)
	}
	return key.KeyID()
}

func TestKeysNewWritesAKeyThatIsForItsOwner(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	out, _, err := execute(t, keysCommand(), "new", dir)
	if err != nil {
		t.Fatal(err)
	}
	path, kid, found := strings.Cut(strings.TrimSuffix(out, "\n"), "  kid ")
	info, err := os.Stat(path)
	if !found || err != nil || filepath.Dir(path) != dir || info.Mode().Perm() != 0o600 || kid == "" {
		t.Fatalf("%q: %v, %v", out, info, err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	out, _, err = execute(t, keysCommand(), "list", dir)
	if err != nil || !strings.Contains(out, kid) || !strings.Contains(out, set.Signs) {
		t.Errorf("%v\n%s", err, out)
	}
	if _, _, err := execute(t, keysCommand(), "new", path); err == nil {
		t.Error("a key below a file")
	}
	if _, _, err := execute(t, keysCommand(), "new"); err == nil {
		t.Error("a key nowhere")
	}
}

// TestKeysListSaysWhatEachIsFor: when it calls a key old, its owner removes it.
func TestKeysListSaysWhatEachIsFor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	oldest, signer, newest := keyOf(t, dir, 50*time.Hour), keyOf(t, dir, 5*time.Hour), keyOf(t, dir, time.Minute)
	for before, roles := range map[string][]string{
		"1h":  {set.Old, set.Signs, set.Waits},
		"3h":  {set.Retiring, set.Signs, set.Waits},
		"10h": {set.Signs, set.Waits, set.Waits},
	} {
		out, _, err := execute(t, keysCommand(), "list", "--publish-before", before, dir)
		if err != nil {
			t.Fatal(err)
		}
		want := [][]string{{"KID", "AGE", "ROLE"}, {oldest, "50h", roles[0]}, {signer, "5h", roles[1]}, {newest, "1m", roles[2]}}
		var got [][]string
		for line := range strings.Lines(out) {
			columns := strings.Fields(line)
			got = append(got, columns[1:])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want, +got):\n%s", before, diff)
		}
	}
}

func TestKeysListNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for dir, want := range map[string]string{empty: "holds no key", filepath.Join(empty, "absent"): "absent"} {
		if out, _, err := execute(t, keysCommand(), "list", dir); err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%s: %v\n%s", dir, err, out)
		}
	}
	dir := t.TempDir()
	kid := keyOf(t, dir, time.Hour)
	if err := os.WriteFile(filepath.Join(dir, "broken.pem"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := execute(t, keysCommand(), "list", dir)
	if err == nil || !strings.Contains(err.Error(), "broken.pem") || !strings.Contains(out, kid) {
		t.Errorf("the good one is listed, the other named: %v\n%s", err, out)
	}
}
