package set

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// courier is one process of several that share a directory of keys.
type courier struct {
	ring   ring
	phase  time.Duration // of its reloads
	served []served
}

type served struct {
	at   time.Time
	keys []string
}

func (c *courier) knows(key string) bool {
	return slices.ContainsFunc(c.ring.keys, func(k ringKey) bool { return k.key.id == key })
}

// Whatever is added, exchanged or, once it is old, removed, and whoever is restarted: no courier signs with a key that is
// not in every JWKS that a receiver may have, and no JWKS lacks a key that something on its way was signed with.
func TestNoSignatureIsUnknownWhileKeysAreExchanged(t *testing.T) {
	t.Parallel()
	const overlap, step, onTheWay = 10 * time.Minute, 10 * time.Second, time.Minute
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
		var dir []keyFile
		made := 0
		add := func() {
			made++
			id := fmt.Sprintf("%04d", made)
			dir = append(dir, keyFile{name: id + keySuffix, written: now, key: &Key{id: id}})
		}
		add()
		var couriers []*courier
		for i := range rapid.IntRange(1, 3).Draw(t, "couriers") {
			couriers = append(couriers, &courier{phase: time.Duration(i) * step})
		}
		// Either couriers are restarted and the operator waits until a key is old, or keys are exchanged head over heels.
		careful := rapid.Bool().Draw(t, "careful")
		signed := map[string]time.Time{}
		start := now
		exchanges := 0
		for range rapid.IntRange(10, 600).Draw(t, "steps") {
			now = now.Add(step)
			switch rapid.IntRange(0, 40).Draw(t, "what") {
			case 0:
				if len(dir) < 4 {
					add()
				}
			case 1:
				list := roles(dir, now, overlap)
				if at := slices.IndexFunc(list, func(k KeyInfo) bool { return k.Role == Old }); at >= 0 {
					dir = slices.DeleteFunc(slices.Clone(dir), func(f keyFile) bool { return f.name == list[at].File })
				}
			case 2:
				if careful {
					restarted := rapid.SampledFrom(couriers).Draw(t, "restarted")
					restarted.ring = ring{}
				} else if now.Sub(start) > time.Minute && exchanges == 0 && len(dir) == 1 {
					exchanges++
					add()
					dir = dir[len(dir)-1:]
				}
			case 3: // a file that is being written: what was read from it is kept
				if !careful {
					bad := slices.Clone(dir)
					bad[0].key = nil
					for _, c := range couriers {
						c.ring = c.ring.next(bad, now, overlap)
					}
				}
			}
			for _, c := range couriers {
				if len(c.ring.keys) == 0 || now.Sub(start)%DefaultKeyringConfig().ReloadEvery == c.phase {
					if next := c.ring.next(dir, now, overlap); len(next.keys) > 0 {
						c.ring = next
					}
				}
				if len(c.ring.keys) == 0 {
					continue
				}
				var ids []string
				for i := range c.ring.keys {
					ids = append(ids, c.ring.keys[i].key.id)
				}
				c.served = append(c.served, served{now, ids})
				signed[c.ring.signer().key.id] = now
			}
			for _, signing := range couriers {
				if len(signing.ring.keys) == 0 {
					continue
				}
				id := signing.ring.signer().key.id
				for _, c := range couriers {
					c.served = slices.DeleteFunc(c.served, func(s served) bool { return now.Sub(s.at) > DefaultKeyringConfig().JWKSMaxAge })
					for _, s := range c.served {
						if !slices.Contains(s.keys, id) {
							t.Fatalf("at %s a courier signs with %s, and a receiver got only %v at %s", now, id, s.keys, s.at)
						}
					}
				}
			}
			for id, at := range signed {
				for _, c := range couriers {
					if now.Sub(at) < onTheWay && len(c.ring.keys) > 0 && !c.knows(id) {
						t.Fatalf("at %s a JWKS lacks %s, which signed at %s", now, id, at)
					}
				}
			}
		}
	})
}

func TestANewKeySignsInTheEnd(t *testing.T) {
	t.Parallel()
	const overlap = 10 * time.Minute
	now := time.Unix(1767225600, 0)
	file := func(id string, at time.Time) keyFile {
		return keyFile{name: id + keySuffix, written: at, key: &Key{id: id}}
	}
	a, b := file("a", now), file("b", now.Add(time.Minute))
	var r ring
	r = r.next([]keyFile{a}, now, overlap)
	if got := r.signer().key.id; got != "a" {
		t.Errorf("%s signs at once, must be the only one", got)
	}
	r = r.next([]keyFile{a, b}, now.Add(time.Minute), overlap)
	r = r.next([]keyFile{a, b}, now.Add(11*time.Minute-time.Second), overlap)
	if got := r.signer().key.id; got != "a" {
		t.Errorf("%s signs before its time", got)
	}
	r = r.next([]keyFile{a, b}, now.Add(11*time.Minute), overlap)
	if got := r.signer().key.id; got != "b" {
		t.Errorf("%s signs, must be b", got)
	}
	r = r.next([]keyFile{b}, now.Add(12*time.Minute), overlap)
	if len(r.keys) != 2 {
		t.Errorf("a key that signed until lately is gone from the JWKS: %d keys", len(r.keys))
	}
	r = r.next([]keyFile{b}, now.Add(30*time.Minute), overlap)
	if len(r.keys) != 1 {
		t.Errorf("a key whose file is gone stays: %d keys", len(r.keys))
	}
	r = r.next(nil, now.Add(40*time.Minute), overlap)
	r = r.next(nil, now.Add(90*time.Minute), overlap)
	if len(r.keys) != 1 || r.signer().key.id != "b" {
		t.Error("the last key does not go on when all files are gone")
	}
	bad := b
	bad.key = nil
	r = r.next([]keyFile{bad, file("c", now)}, now.Add(91*time.Minute), overlap)
	if len(r.keys) != 2 || r.signer().key.id != "b" {
		t.Error("an unreadable file loses its key")
	}
	if r = (&ring{}).next([]keyFile{a, b}, now.Add(time.Hour), overlap); r.signer().key.id != "b" {
		t.Error("a start does not take an old file's key for known")
	}
	if r = (&ring{}).next([]keyFile{a, b}, now.Add(2*time.Minute), overlap); r.signer().key.id != "a" {
		t.Error("a start signs with a key that is minutes old")
	}
}
