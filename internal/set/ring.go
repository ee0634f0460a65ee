package set

import (
	"cmp"
	"slices"
	"time"
)

// ring is the published keys, by file name, and which of them signs.
type ring struct {
	keys    []ringKey
	signing int
}

type ringKey struct {
	name string
	key  *Key
	// since is when it was first published, signed when it last was the one that signs; zero if never.
	since, signed time.Time
	// gone is set once its file is.
	gone bool
}

// files are those of the ring, as if none could be read.
func (r *ring) files() []keyFile {
	var out []keyFile
	for i := range r.keys {
		if !r.keys[i].gone {
			out = append(out, keyFile{name: r.keys[i].name})
		}
	}
	return out
}

func (r *ring) signer() *ringKey { return &r.keys[r.signing] }

// next is the ring once the files were found in the directory at now. A file without a key keeps the key that was read
// from it before. Of several files with the same key the first counts.
//
// The newest key signs that has been published for overlap. When there is none, the one that signed goes on, or else the
// oldest signs: it is the likeliest to be known. What an empty ring finds has been published for as long as its file is
// there: by those that ran before.
func (r *ring) next(files []keyFile, now time.Time, overlap time.Duration) ring {
	var out ring
	add := func(k ringKey) {
		if !slices.ContainsFunc(out.keys, func(have ringKey) bool { return have.key.id == k.key.id }) {
			out.keys = append(out.keys, k)
		}
	}
	for _, f := range files {
		k := ringKey{name: f.name, key: f.key, since: now}
		if len(r.keys) == 0 && f.written.Before(now) {
			k.since = f.written
		}
		for i := range r.keys {
			if old := &r.keys[i]; f.key == nil && old.name == f.name && !old.gone || f.key != nil && old.key.id == f.key.id {
				k.key, k.since, k.signed = old.key, old.since, old.signed
			}
		}
		if k.key != nil {
			add(k)
		}
	}
	for i, old := range r.keys {
		// Tokens that it signed are on their way, and perhaps nobody can take over yet.
		if i == r.signing || now.Sub(old.signed) < overlap {
			old.gone = true
			add(old)
		}
	}
	slices.SortStableFunc(out.keys, func(a, b ringKey) int { return cmp.Compare(a.name, b.name) })
	out.signing = out.choose(now, overlap)
	if len(out.keys) > 0 {
		out.signer().signed = now
	}
	return out
}

// choose is the key to sign with.
func (r *ring) choose(now time.Time, overlap time.Duration) int {
	newest := -1 // of those that may, whether their file is there or not
	for i := range r.keys {
		if k := &r.keys[i]; now.Sub(k.since) >= overlap && (newest < 0 || !k.gone || r.keys[newest].gone) {
			newest = i
		}
	}
	if newest >= 0 {
		return newest
	}
	last := 0
	for i := range r.keys {
		if r.keys[i].signed.After(r.keys[last].signed) {
			last = i
		}
	}
	return last
}
