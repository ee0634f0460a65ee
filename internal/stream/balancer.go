package stream

import (
	"encoding/json"
	"slices"
	"sync"

	"github.com/segmentio/kafka-go"
)

// stickyBalancer keeps partitions where they are and moves the fewest that an even spread needs, because every move of
// an owned partition costs a restore. Members tell what they own and since which generation; what a member claims
// from an older generation than the newest is ignored, since others have owned it in between.
type stickyBalancer struct {
	mu    sync.Mutex
	owned ownership
}

// ownership is a member's user data.
type ownership struct {
	Generation int32            `json:"g"`
	Partitions map[string][]int `json:"p"`
}

var _ kafka.GroupBalancer = (*stickyBalancer)(nil)

// balancers are what every group of this package offers, so that members with and without stickiness can mix.
func balancers(s *stickyBalancer) []kafka.GroupBalancer {
	return []kafka.GroupBalancer{s, kafka.RangeGroupBalancer{}}
}

// own records the assignment of a generation.
func (s *stickyBalancer) own(gen *kafka.Generation) {
	o := ownership{Generation: gen.ID, Partitions: make(map[string][]int)}
	for topic, parts := range gen.Assignments {
		for _, p := range parts {
			o.Partitions[topic] = append(o.Partitions[topic], p.ID)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owned = o
}

// ProtocolName names the protocol to the group; changing the rules below needs another name.
func (s *stickyBalancer) ProtocolName() string { return "countersign-sticky" }

// UserData tells the group's leader what this member owns.
func (s *stickyBalancer) UserData() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return json.Marshal(s.owned)
}

// AssignGroups spreads the partitions of every topic over the members that subscribe to it.
func (s *stickyBalancer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	out := make(kafka.GroupMemberAssignments)
	claims := make(map[string]ownership) // by member
	var newest int32
	for _, m := range members {
		out[m.ID] = make(map[string][]int)
		var o ownership
		if json.Unmarshal(m.UserData, &o) == nil { // unreadable claims count as none
			claims[m.ID] = o
			newest = max(newest, o.Generation)
		}
	}
	byTopic := make(map[string][]int)
	for _, p := range partitions {
		byTopic[p.Topic] = append(byTopic[p.Topic], p.ID)
	}
	for topic, ids := range byTopic {
		slices.Sort(ids)
		ids = slices.Compact(ids)
		var subscribed []string
		for _, m := range members {
			if slices.Contains(m.Topics, topic) {
				subscribed = append(subscribed, m.ID)
			}
		}
		slices.Sort(subscribed)
		claimed := make(map[string][]int)
		for _, id := range subscribed {
			if o := claims[id]; o.Generation == newest {
				claimed[id] = o.Partitions[topic]
			}
		}
		for id, parts := range assignSticky(subscribed, ids, claimed) {
			out[id][topic] = parts
		}
	}
	return out
}

// assignSticky spreads partitions evenly over members, both sorted: counts differ by at most one, and every partition
// stays with the member that claims it unless evenness forbids. Of two claims the first member's counts.
func assignSticky(members []string, partitions []int, claims map[string][]int) map[string][]int {
	out := make(map[string][]int)
	if len(members) == 0 {
		return out
	}
	free := make(map[int]bool, len(partitions))
	for _, p := range partitions {
		free[p] = true
	}
	kept := make(map[string][]int)
	for _, m := range members {
		for _, p := range claims[m] {
			if free[p] {
				delete(free, p)
				kept[m] = append(kept[m], p)
			}
		}
		slices.Sort(kept[m])
	}
	// Those who hold the most get the larger share, so that the fewest are taken away.
	order := slices.Clone(members)
	slices.SortStableFunc(order, func(a, b string) int { return len(kept[b]) - len(kept[a]) })
	share, larger := len(partitions)/len(members), len(partitions)%len(members)
	quota := make(map[string]int)
	for i, m := range order {
		quota[m] = share
		if i < larger {
			quota[m]++
		}
		for _, p := range kept[m][min(len(kept[m]), quota[m]):] {
			free[p] = true
		}
		out[m] = kept[m][:min(len(kept[m]), quota[m])]
	}
	var rest []int
	for _, p := range partitions {
		if free[p] {
			rest = append(rest, p)
		}
	}
	for _, m := range order {
		n := min(len(rest), quota[m]-len(out[m]))
		out[m] = append(out[m], rest[:n]...)
		rest = rest[n:]
		slices.Sort(out[m])
	}
	return out
}
