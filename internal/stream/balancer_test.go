package stream

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"pgregory.net/rapid"
)

// TestStickyIsEvenAndMovesTheFewest compares the balancer with every even assignment there is.
func TestStickyIsEvenAndMovesTheFewest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := make([]string, rapid.IntRange(1, 4).Draw(t, "members"))
		for i := range members {
			members[i] = fmt.Sprint("m", i)
		}
		partitions := make([]int, rapid.IntRange(0, 6).Draw(t, "partitions"))
		owner := make([]int, len(partitions)) // -1: nobody
		claims := make(map[string][]int)
		for p := range partitions {
			partitions[p] = p
			owner[p] = rapid.IntRange(-1, len(members)-1).Draw(t, "owner")
			if owner[p] >= 0 {
				claims[members[owner[p]]] = append(claims[members[owner[p]]], p)
			}
		}
		got := assignSticky(members, partitions, claims)
		kept, seen := 0, make(map[int]bool)
		for m, parts := range got {
			if n, share := len(parts), len(partitions)/len(members); n < share || n > share+1 {
				t.Fatalf("%s has %d of %d partitions among %d members", m, n, len(partitions), len(members))
			}
			for _, p := range parts {
				if seen[p] {
					t.Fatalf("partition %d is assigned twice", p)
				}
				seen[p] = true
				if owner[p] >= 0 && members[owner[p]] == m {
					kept++
				}
			}
		}
		if len(seen) != len(partitions) {
			t.Fatalf("%d of %d partitions assigned", len(seen), len(partitions))
		}
		if best := mostKept(owner, len(members)); kept != best {
			t.Fatalf("%d partitions stay, %d could", kept, best)
		}
	})
}

// mostKept tries every even assignment.
func mostKept(owner []int, members int) int {
	best := 0
	counts := make([]int, members)
	var try func(p, kept int)
	try = func(p, kept int) {
		if p == len(owner) {
			if slices.Max(counts)-slices.Min(counts) <= 1 {
				best = max(best, kept)
			}
			return
		}
		for m := range members {
			counts[m]++
			k := kept
			if owner[p] == m {
				k++
			}
			try(p+1, k)
			counts[m]--
		}
	}
	try(0, 0)
	return best
}

func TestStickyIgnoresOldAndUnreadableClaims(t *testing.T) {
	t.Parallel()
	data := func(generation int32, parts ...int) []byte {
		b, err := json.Marshal(ownership{Generation: generation, Partitions: map[string][]int{"t": parts}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	members := []kafka.GroupMember{
		{ID: "a", Topics: []string{"t"}, UserData: data(7, 2, 3)},
		{ID: "b", Topics: []string{"t"}, UserData: data(6, 0, 1, 2, 3)}, // slept through generation 7
		{ID: "c", Topics: []string{"t"}, UserData: []byte("{")},
		{ID: "d", Topics: []string{"other"}, UserData: data(7, 0)},
	}
	var partitions []kafka.Partition
	for p := range 4 {
		partitions = append(partitions, kafka.Partition{Topic: "t", ID: p})
	}
	got := (&stickyBalancer{}).AssignGroups(members, partitions)
	want := kafka.GroupMemberAssignments{"a": {"t": {2, 3}}, "b": {"t": {0}}, "c": {"t": {1}}, "d": {}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("assignment (-want, +got):\n%s", d)
	}
}

// checkAssignment assigns three partitions to two members with any user data.
func checkAssignment(t *testing.T, a, b []byte) {
	t.Helper()
	members := []kafka.GroupMember{{ID: "a", Topics: []string{"t"}, UserData: a}, {ID: "b", Topics: []string{"t"}, UserData: b}}
	got := (&stickyBalancer{}).AssignGroups(members, []kafka.Partition{{Topic: "t"}, {Topic: "t", ID: 1}, {Topic: "t", ID: 2}})
	all := slices.Concat(got["a"]["t"], got["b"]["t"])
	slices.Sort(all)
	if !slices.Equal(all, []int{0, 1, 2}) || len(got["a"]["t"]) == 0 || len(got["b"]["t"]) == 0 {
		t.Errorf("assigned %v", got)
	}
}
