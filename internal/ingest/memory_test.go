package ingest

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// At least the newest half of its size is remembered, never more than its size, and never what it was not told.
func TestMemoryKeepsTheNewest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 20).Draw(t, "size")
		told := rapid.SliceOfN(rapid.Uint16Range(0, 40), 0, 100).Draw(t, "told")
		m := newMemory(size)
		last := map[uint16]int{}
		for i, n := range told {
			m.add(idOf(n))
			last[n] = i
		}
		known := 0
		for n := range uint16(50) {
			at, ever := last[n]
			has := m.contains(idOf(n))
			if has {
				known++
			}
			if has && !ever {
				t.Errorf("%d was never told", n)
			}
			if !has && ever && len(told)-at < max(size/2, 1) {
				t.Errorf("%d is forgotten after %d others, with room for %d", n, len(told)-at-1, size)
			}
		}
		if known > size+1 {
			t.Errorf("%d are remembered, with room for %d", known, size)
		}
	})
}

func idOf(n uint16) (id recentID) {
	binary.BigEndian.PutUint16(id[3:], n)
	return id
}
