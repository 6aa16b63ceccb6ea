// Package workshop knows the steps of the workshop: their folders, titles, tasks,
// hints and promises. All of it is read from where it stands, the lessons and the
// contracts, so that no second list has to be kept.
package workshop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"example.com/wsworkshop/steps/contract"
)

// Module is the path of the module, as go.mod has it.
const Module = "example.com/wsworkshop"

// Step is one step of the workshop.
type Step struct {
	Number   int
	Name     string // of its folder: "03-hub"
	Title    string // of its lesson
	Time     string // how long the work takes, in minutes: "40 to 60"
	Tasks    []Task
	Promises []contract.Promise // of its own, not those of earlier steps
}

// Task is one task of a lesson.
type Task struct {
	Number string // "3.1"
	Title  string
	Hints  []string // from gentle to nearly the code, in Markdown
}

// Folder is where the learner works, from the root, with slashes.
func (s Step) Folder() string { return "steps/" + s.Name }

// Solution is the folder of the finished step.
func (s Step) Solution() string { return "solutions/" + s.Name }

// Lesson is the path of the lesson.
func (s Step) Lesson() string { return s.Folder() + "/README.md" }

// Package is the import path of the step.
func (s Step) Package() string { return Module + "/" + s.Folder() }

// Task returns the task with a number, if the step has it.
func (s Step) Task(number string) (Task, bool) {
	for _, t := range s.Tasks {
		if t.Number == number {
			return t, true
		}
	}
	return Task{}, false
}

// Root returns the folder of the repository: dir, or the nearest above it that
// holds the module.
func Root(dir string) (string, error) {
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		line, _, _ := strings.Cut(string(data), "\n")
		if err == nil && strings.TrimSpace(line) == "module "+Module {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("this is not a folder of the workshop: change to where you have cloned it, and try again")
		}
		dir = parent
	}
}

// Load reads the steps of the repository at root.
func Load(root string) ([]Step, error) {
	steps := make([]Step, contract.Steps)
	for i, name := range contract.Folders {
		steps[i] = Step{Number: i + 1, Name: name, Promises: contract.Promises(i + 1)}
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(steps[i].Lesson())))
		if err != nil {
			return nil, fmt.Errorf("a lesson is missing: put it back, from a fresh clone or with git checkout %s\n%w", steps[i].Lesson(), err)
		}
		if err := steps[i].parse(strings.ReplaceAll(string(data), "\r\n", "\n")); err != nil {
			return nil, fmt.Errorf("%s: %w; put it back, from a fresh clone or with git checkout %[1]s", steps[i].Lesson(), err)
		}
	}
	return steps, nil
}

var (
	titleLine = regexp.MustCompile(`^# Step (\d+): (.+)\n`)
	timeLine  = regexp.MustCompile(`(?m)^Working time: (\d+ to \d+) minutes\.$`)
	taskLine  = regexp.MustCompile(`(?m)^### (\d+\.\d+) (.+)$`)
	hint      = regexp.MustCompile(`(?s)<details><summary>Hint \d+</summary>\n(.*?)\n</details>`)
)

// parse reads title, working time, tasks and hints from the text of the lesson.
func (s *Step) parse(lesson string) error {
	title := titleLine.FindStringSubmatch(lesson)
	if title == nil || title[1] != fmt.Sprint(s.Number) {
		return fmt.Errorf(`it does not begin with a line like "# Step %d: a title"`, s.Number)
	}
	s.Title = title[2]
	working := timeLine.FindStringSubmatch(lesson)
	if working == nil {
		return errors.New(`it has no line like "Working time: 40 to 60 minutes."`)
	}
	s.Time = working[1]
	heads := taskLine.FindAllStringSubmatchIndex(lesson, -1)
	for i, head := range heads {
		end := len(lesson)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		task := Task{Number: lesson[head[2]:head[3]], Title: lesson[head[4]:head[5]]}
		for _, h := range hint.FindAllStringSubmatch(lesson[head[1]:end], -1) {
			task.Hints = append(task.Hints, strings.TrimSpace(h[1]))
		}
		s.Tasks = append(s.Tasks, task)
	}
	return nil
}
