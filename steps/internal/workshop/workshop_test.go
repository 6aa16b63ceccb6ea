package workshop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestALessonGivesTitleTasksAndHints(t *testing.T) {
	s := Step{Number: 3}
	err := s.parse("# Step 3: The hub: a map\n\nWorking time: 40 to 60 minutes.\n\n## The tasks\n\n" +
		"### 3.1 Lock it\n\nText.\n\n<details><summary>Hint 1</summary>\n\nGently.\n\n</details>\n\n" +
		"<details><summary>Hint 2</summary>\n\n```go\nmu.Lock()\n```\n\n</details>\n\n" +
		"### 3.2 Count it\n\n<details><summary>Another thing</summary>\n\nNo hint.\n\n</details>\n")
	if err != nil {
		t.Fatal(err)
	}
	if s.Title != "The hub: a map" || s.Time != "40 to 60" || len(s.Tasks) != 2 {
		t.Fatalf("got %+v", s)
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

func TestALessonWithoutItsWorkingTimeIsAnError(t *testing.T) {
	for _, line := range []string{"", "Working time: an hour.", "It says: Working time: 40 to 60 minutes."} {
		if err := (&Step{Number: 3}).parse("# Step 3: The hub\n\n" + line + "\n"); err == nil || !strings.Contains(err.Error(), `"Working time: 40 to 60 minutes."`) {
			t.Errorf("with the line %q: %v", line, err)
		}
	}
}

func TestEachTaskOfEachLessonHasHints(t *testing.T) {
	_, steps := load(t)
	for _, s := range steps {
		for _, p := range s.Promises {
			if task, ok := s.Task(p.Task); !ok || len(task.Hints) < 2 {
				t.Errorf("%s has %d hints for the task %s, and should have two or more", s.Lesson(), len(task.Hints), p.Task)
			}
		}
	}
}

func TestPagesHaveTheWorkingTimesOfTheLessons(t *testing.T) {
	root, steps := load(t)
	for _, s := range steps {
		rows := map[string]string{"README.md": fmt.Sprintf("| %d | [%s](%s) | %s min |", s.Number, s.Title, s.Lesson(), s.Time)}
		if s.Number <= 8 { // a room does part one
			rows["docs/instructor.md"] = fmt.Sprintf("| %d %s | %s |", s.Number, s.Title, s.Time)
		}
		for page, row := range rows {
			data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(page)))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(data), "\n"+row) {
				t.Errorf("%s has no line that begins with %q, as %s has it", page, row, s.Lesson())
			}
		}
	}
}

// load reads the lessons of this repository.
func load(t *testing.T) (root string, steps []Step) {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if root, err = Root(here); err != nil {
		t.Fatal(err)
	}
	if steps, err = Load(root); err != nil {
		t.Fatal(err)
	}
	return root, steps
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
