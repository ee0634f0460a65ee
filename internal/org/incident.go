package org

import (
	"slices"

	"github.com/countersign-io/countersign/internal/events"
)

const (
	// quiet is how long after it was last warranted an incident still takes in users; of those that count a day, a day.
	quiet = 20 * events.Minute
	// maxIncident is after how long an incident that goes on is a new one.
	maxIncident = events.Day
	// maxTold is how many users of an incident are remembered as told, twice over. Who is forgotten is told again, in a
	// verdict of the same id.
	maxTold = 1024
)

// incident is one firing of a detection.
type incident struct {
	marks
	id        string
	detection string
	// on is the name of the source's piece, or the fingerprint, or "".
	on          string
	first, last events.Millis
	told        [2]map[uint64]struct{} // newer and older
}

func (i *incident) name() string { return pieceIncident + "/" + i.id }
func (i *incident) room() int    { return 256 + len(i.on) + 2*maxTold*8 }

// incidentKey finds the open incident of a detection on something.
func incidentKey(detection, on string) string { return detection + " " + on }

// once tells whether a user has to be told of an incident, and remembers.
func (s *State) once(i *incident, h uint64) bool {
	if !i.tell(h) {
		return false
	}
	s.change(i)
	return true
}

func (i *incident) tell(h uint64) bool {
	for _, told := range i.told {
		if _, ok := told[h]; ok {
			return false
		}
	}
	if len(i.told[0]) >= maxTold {
		i.told[1], i.told[0] = i.told[0], nil
	}
	if i.told[0] == nil {
		i.told[0] = map[uint64]struct{}{}
	}
	i.told[0][h] = struct{}{}
	return true
}

// untold tells that nobody was told yet.
func (i *incident) untold() bool { return len(i.told[0])+len(i.told[1]) == 0 }

func (i *incident) append(w *writer) {
	w.Uint(i.seq)
	w.Text(i.detection)
	w.Text(i.on)
	w.millis(i.first)
	w.millis(i.last)
	for _, told := range i.told {
		hashes := make([]uint64, 0, len(told))
		for h := range told {
			hashes = append(hashes, h)
		}
		slices.Sort(hashes)
		w.Count(len(hashes))
		for _, h := range hashes {
			w.Fixed(h)
		}
	}
}

func readIncident(id string, r *reader) *incident {
	i := &incident{id: id}
	i.seq = r.Uint()
	i.detection, i.on = r.text(), r.text()
	i.first, i.last = r.millis(), r.millis()
	for k := range i.told {
		n := r.Count(maxTold)
		if n > 0 {
			i.told[k] = make(map[uint64]struct{}, n)
		}
		for range n {
			i.told[k][r.Fixed()] = struct{}{}
		}
	}
	return i
}

// incident returns the open incident of a detection, nil when there is none.
func (s *State) incident(detection, on string, t events.Millis) *incident {
	n := s.incidents.nodes[incidentKey(detection, on)]
	if n == nil {
		return nil
	}
	i := n.value
	wait := events.Millis(quiet)
	switch {
	case detection == net05 || detection == dev03:
		wait = events.Day
	case detection == crd04 && on != "":
		wait = halfDay // a tool that tries a user now and then
	}
	if t > i.last+wait || t > i.first+maxIncident {
		return nil
	}
	return i
}

// warrant opens an incident or keeps it open. Its id rests on the event that opened it.
func (s *State) warrant(detection, on string, t events.Millis, event string) *incident {
	i := s.incident(detection, on, t)
	if i == nil {
		key := incidentKey(detection, on)
		if old := s.incidents.nodes[key]; old != nil {
			s.close(old)
		}
		i = &incident{id: events.ID("incident", s.tenant, detection, on, event), detection: detection, on: on, first: t, last: t}
		for n := 0; n < maxForgotten && len(s.incidents.nodes) >= s.config.Incidents; n++ {
			s.close(s.incidents.oldest)
		}
		s.incidents.put(key, i)
		s.stamp(i)
		return i
	}
	i.last = max(i.last, t)
	s.incidents.use(s.incidents.nodes[incidentKey(detection, on)])
	s.stamp(i)
	return i
}

func (s *State) close(n *node[*incident]) {
	s.incidents.remove(n)
	s.forget(n.value)
}
