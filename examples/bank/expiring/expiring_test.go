package expiring

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestMapForgetsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New[int](3)
		m.Put("a", 1, time.Minute)
		if v, ok := m.Get("a"); v != 1 || !ok {
			t.Errorf("%v, %v", v, ok)
		}
		time.Sleep(time.Minute)
		if _, ok := m.Get("a"); ok {
			t.Error("held too long")
		}
		m.Put("b", 2, time.Minute)
		if v, ok := m.Take("b"); v != 2 || !ok {
			t.Errorf("%v, %v", v, ok)
		}
		if _, ok := m.Take("b"); ok {
			t.Error("taken twice")
		}
	})
}

func TestMapIsBounded(t *testing.T) {
	t.Parallel()
	m := New[int](3)
	for i, minutes := range []int{50, 10, 30, 40, 20} {
		m.Put(fmt.Sprint(i), i, time.Duration(minutes)*time.Minute)
	}
	for i, want := range []bool{true, false, false, true, true} {
		if _, ok := m.Get(fmt.Sprint(i)); ok != want {
			t.Errorf("%d: %v, want %v", i, ok, want)
		}
	}
}
