package progress

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestNothingIsDrawnWhereNobodySeesIt(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var memory bytes.Buffer
	for _, b := range []*Bar{New(file, "work"), New(&memory, "work")} {
		b.Set(0.5)
		b.Set(1)
		b.End()
	}
	info, err := file.Stat()
	if err != nil || info.Size() != 0 || memory.Len() != 0 {
		t.Errorf("%v: %d bytes in a file, %q", err, info.Size(), memory.String())
	}
}

func TestACharacterDeviceIsDrawnOn(t *testing.T) {
	t.Parallel()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer null.Close()
	b := New(null, "work")
	if b == nil {
		t.Fatal("nothing is drawn")
	}
	b.Set(-1)
	b.Set(0.25)
	if got := b.bar.State().CurrentNum; got != whole/4 {
		t.Errorf("at %d", got)
	}
	b.Set(7)
	b.End()
	if got := b.bar.State().CurrentNum; got != whole {
		t.Errorf("at %d", got)
	}
}
