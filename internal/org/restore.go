package org

import (
	"strconv"
)

// read replaces a piece with what was written of it.
func (s *State) read(name string, r *reader) {
	switch what, rest := split(name); what {
	case pieceHead:
		s.head.read(r)
	case pieceSeason:
		s.season.read(r)
	case pieceQuarter:
		s.quarter.read(r)
	case pieceDay:
		s.day.read(r)
	case pieceRecent:
		s.recent.read(r)
	case piecePassing:
		s.passing.read(r)
	case pieceFailing:
		s.failing.read(r)
	case pieceTotals:
		s.totals.read(r)
	case pieceLimits:
		s.limits.read(r)
	case pieceSource:
		s.readSource(rest, r)
	case pieceIncident:
		i := readIncident(rest, r)
		s.dropIncident(i.id)
		restore(&s.incidents, incidentKey(i.detection, i.on), i)
	case pieceEgress:
		restore(&s.egress, rest, readEgress(rest, r))
	case pieceTerms:
		s.readTerms(rest, r)
	case pieceDevices:
		i, err := strconv.Atoi(rest)
		if err != nil || i < 0 || strconv.Itoa(i) != rest {
			r.Fail("no such piece of devices")
			return
		}
		if i >= s.deviceBuckets() { // of a configuration that had more
			s.strays = append(s.strays, name)
			r.Rest()
			return
		}
		s.deviceBucket(i).read(r)
	default:
		r.Fail("no such piece")
	}
}

// restore puts a value in the place of the one of its key. The order follows when all are there.
func restore[T piece](l *lru[T], key string, value T) {
	if n := l.nodes[key]; n != nil {
		l.remove(n)
	}
	l.put(key, value)
	l.unordered = true
}

func (s *State) readSource(name string, r *reader) {
	kind, key := split(name)
	for i, known := range scopeNames {
		if kind == known {
			restore(&s.sources, name, readSource(scope(i), key, r))
			return
		}
	}
	r.Fail("no such kind of source")
}

func (s *State) readTerms(name string, r *reader) {
	b := s.bucket(name)
	if b == nil {
		r.Fail("no such piece of terms")
		return
	}
	known := s.terms[b.kind].known
	for _, t := range b.terms {
		delete(known, t.value)
	}
	b.read(r)
	for _, t := range b.terms {
		known[t.value] = t
	}
}

func (s *State) dropIncident(id string) {
	for n := s.incidents.oldest; n != nil; n = n.newer {
		if n.value.id == id {
			s.incidents.remove(n)
			return
		}
	}
}

// drop forgets a piece that was deleted.
func (s *State) drop(p piece) {
	switch p := p.(type) {
	case *source:
		s.sources.remove(s.sources.nodes[string(sourceName(nil, p.scope, p.key))])
	case *incident:
		s.dropIncident(p.id)
	case *devices:
		delete(s.devices, p.index)
	case *egress:
		s.egress.remove(s.egress.nodes[p.prefix])
	}
}
