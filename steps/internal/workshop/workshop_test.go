package workshop

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestALessonGivesTitleTasksAndHints(t *testing.T) {
	s := Step{Number: 3}
	err := s.parse("# Step 3: The hub: a map\n\n## The tasks\n\n" +
		"### 3.1 Lock it\n\nText.\n\n<details><summary>Hint 1</summary>\n\nGently.\n\n</details>\n\n" +
		"<details><summary>Hint 2</summary>\n\n```go\nmu.Lock()\n```\n\n</details>\n\n" +
		"### 3.2 Count it\n\n<details><summary>Another thing</summary>\n\nNo hint.\n\n</details>\n")
	if err != nil {
		t.Fatal(err)
	}
	if s.Title != "The hub: a map" || len(s.Tasks) != 2 {
		t.Fatalf("got %+v", s)
	}
	if s.Words != 19 { // what is folded away does not count
		t.Errorf("%d words, want 19", s.Words)
	}
	if lock, ok := s.Task("3.1"); !ok || lock.Title != "Lock it" || !slices.Equal(lock.Hints, []string{"Gently.", "```go\nmu.Lock()\n```"}) {
		t.Errorf("task 3.1 is %+v", lock)
	}
	if count, ok := s.Task("3.2"); !ok || len(count.Hints) != 0 {
		t.Errorf("task 3.2 is %+v", count)
	}
	if _, ok := s.Task("3.3"); ok {
		t.Error("there is a task 3.3")
	}
}

func TestALessonWithoutItsTitleIsAnError(t *testing.T) {
	for _, lesson := range []string{"", "# The hub\n", "# Step 4: The hub\n"} {
		if err := (&Step{Number: 3}).parse(lesson); err == nil || !strings.Contains(err.Error(), `"# Step 3: a title"`) {
			t.Errorf("parse(%q) = %v", lesson, err)
		}
	}
}

func TestALessonIsReadAt200WordsAMinute(t *testing.T) {
	for words, want := range map[int]int{1: 1, 200: 1, 201: 2, 2400: 12} {
		if got := (Step{Words: words}).Minutes(); got != want {
			t.Errorf("%d words take %d minutes, want %d", words, got, want)
		}
	}
}

func TestEachTaskOfEachLessonHasHints(t *testing.T) {
	var root string
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if root, err = Root(here); err != nil {
		t.Fatal(err)
	}
	steps, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		for _, p := range s.Promises {
			if task, ok := s.Task(p.Task); !ok || len(task.Hints) < 2 {
				t.Errorf("%s has %d hints for the task %s, and should have two or more", s.Lesson(), len(task.Hints), p.Task)
			}
		}
	}
}

func TestAnotherModuleIsNotTheWorkshop(t *testing.T) {
	for _, module := range []string{"example.com/other", Module + "/inner"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module "+module+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if root, err := Root(dir); err == nil {
			t.Errorf("the root of %s is %s", module, root)
		}
	}
}
