package main

import "testing"

// What is being written does not wait: CatchUp would wait for it in vain.
func TestQueueWaits(t *testing.T) {
	q := sendQueue{some: make(chan struct{}, 1)}
	f := newFrame(&Message{Type: 2, Data: make([]byte, 1000)})
	want := func(when string, frames int) {
		t.Helper()
		if got := q.waits(); got != frames*f.cost() {
			t.Errorf("%s, %d bytes wait, and it should be %d.", when, got, frames*f.cost())
		}
	}
	q.add(f)
	q.add(f)
	want("after two frames", 2)
	q.take()
	want("while both are written", 0)
	q.add(f)
	want("when one more comes", 1)
	q.drop()
	want("when the two are written", 1)
}
