package org

import (
	"cmp"
	"slices"
)

// lru keeps values by key in the order of their last change, which is theirs to remember: it survives a restore. The zero
// value is not ready, make one with newLRU.
type lru[T piece] struct {
	nodes          map[string]*node[T]
	oldest, newest *node[T]
	unordered      bool // after a restore
}

type node[T piece] struct {
	key          string
	value        T
	older, newer *node[T]
}

func newLRU[T piece]() lru[T] { return lru[T]{nodes: map[string]*node[T]{}} }

// get looks up key without copying it.
func (l *lru[T]) get(key []byte) (*node[T], bool) {
	n, ok := l.nodes[string(key)]
	return n, ok
}

// put adds a value as the newest, which must not be there.
func (l *lru[T]) put(key string, value T) *node[T] {
	n := &node[T]{key: key, value: value}
	l.nodes[key] = n
	l.append(n)
	return n
}

func (l *lru[T]) append(n *node[T]) {
	n.older, n.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = n
	} else {
		l.oldest = n
	}
	l.newest = n
}

func (l *lru[T]) cut(n *node[T]) {
	if n.older != nil {
		n.older.newer = n.newer
	} else {
		l.oldest = n.newer
	}
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		l.newest = n.older
	}
}

// maxForgotten is how many values of a kind one new one pushes out at most: what a day has left behind, or a configuration with
// less room, goes by and by, so that a sighting changes a bounded number of pieces.
const maxForgotten = 8

// use makes n the newest.
func (l *lru[T]) use(n *node[T]) {
	if l.newest != n {
		l.cut(n)
		l.append(n)
	}
}

func (l *lru[T]) remove(n *node[T]) {
	l.cut(n)
	delete(l.nodes, n.key)
}

// order sorts after a restore, by when the values say they changed.
func (l *lru[T]) order() {
	if !l.unordered {
		return
	}
	l.unordered = false
	var list []*node[T]
	for n := l.oldest; n != nil; n = n.newer {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b *node[T]) int {
		return cmp.Or(cmp.Compare(a.value.noted().seq, b.value.noted().seq), cmp.Compare(a.key, b.key))
	})
	l.oldest, l.newest = nil, nil
	for _, n := range list {
		l.append(n)
	}
}
