package runner

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/internal/starters"
	"example.com/wsworkshop/steps/internal/workshop"
)

// newApp returns a program whose repository is an empty folder with one step, and
// that step.
func newApp(t *testing.T, files map[string]string) (*app, workshop.Step) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	a := &app{Streams: Streams{Out: out, Err: out}, root: t.TempDir()}
	s := workshop.Step{Number: 2, Name: "02-pumps"}
	if err := writeFiles(a.path(s.Folder()), files); err != nil {
		t.Fatal(err)
	}
	return a, s
}

// When a file cannot be put in its place, none is.
func TestReplaceIsAllOrNothing(t *testing.T) {
	mine := map[string]string{"a.go": "mine", "b.go": "mine", "c.go": "mine", "mine.go": "mine"}
	for _, stuck := range []string{"a.go", "b.go", "c.go", "new.go"} {
		a, s := newApp(t, mine)
		dir := a.path(s.Folder())
		if err := os.MkdirAll(filepath.Join(dir, "."+stuck+".new"), 0o777); err != nil {
			t.Fatal(err)
		}
		err := a.replace(s, map[string]string{"a.go": "new", "b.go": "new", "c.go": "new", "new.go": "new"})
		if err == nil || !strings.Contains(err.Error(), "steps/02-pumps stays as it is: ") {
			t.Errorf("with %s stuck: %v", stuck, err)
		}
		if got, err := starters.Read(dir); err != nil || !maps.Equal(got, mine) {
			t.Errorf("with %s stuck the folder has %v, %v; it should be as it was", stuck, got, err)
		}
	}
}

// What was saved can be had again, and again.
func TestUndoTakesWhatWasSavedLast(t *testing.T) {
	first, second := map[string]string{"a.go": "1", "mine.go": "1"}, map[string]string{"a.go": "2", "b.go": "2"}
	a, s := newApp(t, first)
	if _, err := a.lastSaved(s); err == nil || !strings.Contains(err.Error(), "nothing of steps/02-pumps has been saved") {
		t.Errorf("before anything was saved: %v", err)
	}
	for i, step := range []struct{ put, saved map[string]string }{{second, first}, {first, second}, {second, first}} {
		if err := a.replace(s, step.put); err != nil {
			t.Fatal(err)
		}
		got, err := a.lastSaved(s)
		if err != nil || !maps.Equal(got, step.saved) {
			t.Errorf("%d: saved is %v, %v; want %v", i, got, err, step.saved)
		}
		if got, err := starters.Read(a.path(s.Folder())); err != nil || !maps.Equal(got, step.put) {
			t.Errorf("%d: the folder has %v, %v; want %v", i, got, err, step.put)
		}
	}
}
