package gates

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"example.com/wsworkshop/steps/contract"
)

var (
	anyTODO     = regexp.MustCompile(`TODO(?:\((\d+\.\d+)\))?`)
	taskHeading = regexp.MustCompile(`(?m)^(?:<a id="task-(.*)"></a>\n)?### (\d+\.\d+) `)
	quoted      = regexp.MustCompile(`"([^"]+)"`)
)

// The TODOs of a starter, the tasks of its lesson and the promises of its
// contract follow the same numbered list.
func TestTODOsTasksAndPromisesAgree(t *testing.T) {
	eachStep(t, func(t *testing.T, n int, folder string) {
		notBegun(t, folder)
		tasks := tasks(t, n, lesson(folder))

		todos := make(map[string]bool)
		for _, name := range goFiles(t, "steps/"+folder) {
			for _, m := range anyTODO.FindAllStringSubmatch(read(t, "steps/"+folder+"/"+name), -1) {
				if _, ok := tasks[m[1]]; !ok {
					t.Errorf("steps/%s/%s has %s, which is no task of %s. Number it TODO(%d.k) after its task.", folder, name, m[0], lesson(folder), n)
				}
				todos[m[1]] = true
			}
			if strings.Contains(read(t, "solutions/"+folder+"/"+name), "TODO") {
				t.Errorf("solutions/%s/%s has a TODO. Finish it.", folder, name)
			}
		}

		promised := make(map[string]bool)
		for _, promise := range contract.Promises(n) {
			promised[promise.Task+promise.Name] = true
			switch text, ok := tasks[promise.Task]; {
			case !ok:
				t.Errorf("the promise %q belongs to no task of %s. Correct its Task in steps/contract.", promise, lesson(folder))
			case !strings.Contains(text, `"`+promise.Name+`"`):
				t.Errorf("%s does not name the promise %q. Add it to the line %q of task %s.", lesson(folder), promise.Name, "Promises:", promise.Task)
			}
		}
		for task, text := range tasks {
			if !todos[task] {
				t.Errorf("%s has the task %s, but no starter file of the step has a TODO(%s). Add one where the work is to be done.", lesson(folder), task, task)
			}
			for line := range strings.Lines(text) {
				if !strings.HasPrefix(line, "Promises:") {
					continue
				}
				for _, m := range quoted.FindAllStringSubmatch(line, -1) {
					if !promised[task+m[1]] {
						t.Errorf("%s says that task %s keeps %q, but the contract has no such promise there. Correct the line %q.", lesson(folder), task, m[1], "Promises:")
					}
				}
			}
		}
	})
}

// tasks returns the text of each task in the lesson of step n, by its number.
func tasks(t *testing.T, n int, name string) map[string]string {
	t.Helper()
	text := read(t, name)
	all := make(map[string]string)
	found := taskHeading.FindAllStringSubmatchIndex(text, -1)
	for i, m := range found {
		task, anchor := text[m[4]:m[5]], ""
		if m[2] >= 0 {
			anchor = text[m[2]:m[3]]
		}
		if anchor != task {
			t.Errorf(`%s: the line above the heading of task %s must be <a id="task-%s"></a>.`, name, task, task)
		}
		if want := fmt.Sprintf("%d.%d", n, i+1); task != want {
			t.Errorf("%s: the task %s should be %s: number the tasks in order.", name, task, want)
		}
		section := text[m[1]:]
		if i+1 < len(found) {
			section = text[m[1]:found[i+1][0]]
		}
		all[task], _, _ = strings.Cut(section, "\n## ")
	}
	return all
}
