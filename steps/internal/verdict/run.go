package verdict

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"example.com/wsworkshop/steps/internal/system"
	"example.com/wsworkshop/steps/internal/workshop"
)

// Of tests one step, as "go test" with the given flags does. It calls ended, which
// may be nil, for each promise whose test has ended.
func Of(ctx context.Context, root string, s workshop.Step, flags []string, ended func(promise string)) (Verdict, error) {
	v := newVerdict(s, 1)
	v.Race = slices.Contains(flags, "-race")
	if v.Trouble = withoutTests(root, s); v.Trouble != "" {
		return v, nil
	}
	all := make(results)
	err := stream(ctx, all, ended, func(ctx context.Context) *exec.Cmd {
		cmd := system.Go(ctx, root, append(append([]string{"test", "-json", onlyServer}, flags...), "./"+s.Folder())...)
		if v.Race {
			cmd.Env = append(cmd.Env, "CGO_ENABLED=1") // the race detector needs it
		}
		return cmd
	})
	if err != nil {
		return Verdict{}, err
	}
	v.judge(all[s.Package()])
	return v, nil
}

// onlyServer leaves tests of the learner's own to go test.
const onlyServer = "-run=^" + server + "$"

// withoutTests says that a step has lost the file that binds it to its tests, if
// it has.
func withoutTests(root string, s workshop.Step) string {
	name := s.Folder() + "/" + s.Name[:2] + "_test.go"
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
		return fmt.Sprintf("%s: it is missing, and the tests with it. To have it again, copy %s there.", name, s.Solution()+"/"+filepath.Base(name))
	}
	return ""
}

// startPatience is how long a test program may take until its first test begins.
// The tests themselves have limits of their own.
const startPatience = 20 * time.Second

// stream runs a program that prints events, go test -json or test2json, and reads
// them. It stops one whose tests do not begin.
func stream(ctx context.Context, all results, ended func(string), command func(context.Context) *exec.Cmd) error {
	var complaints bytes.Buffer
	running, stop := context.WithCancel(ctx)
	defer stop()
	cmd := command(running)
	cmd.Stderr = &complaints
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("the tests do not start: %w", err)
	}
	readErr := all.read(stdout, ended, func() (begun func() bool) { return time.AfterFunc(startPatience, stop).Stop })
	err = cmd.Wait() // an error means that a test has failed, as is expected; or worse
	if ctx.Err() == nil && running.Err() != nil {
		for _, r := range all {
			r.output[""] = fmt.Sprintf("No test had begun after %v, so it was stopped.\n", startPatience)
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case readErr != nil:
		return fmt.Errorf("the output of the tests: %w\n%s", readErr, complaints.Bytes())
	case len(all) == 0:
		return fmt.Errorf("the tests: %w\n%s", err, complaints.Bytes())
	}
	return nil
}

// All tests all steps, quickly: of a step that is not done only the promises that
// it adds. Test programs are built into a folder of the user's cache, where the go
// command finds that they need no new build.
func All(ctx context.Context, root string, steps []workshop.Step) ([]Verdict, error) {
	cache, err := programs(root)
	if err != nil {
		return nil, err
	}
	var tool string
	var toolErr error
	var looking sync.WaitGroup
	looking.Go(func() { tool, toolErr = test2json(ctx, root) })
	broken, err := build(ctx, root, cache, steps)
	looking.Wait()
	if err := cmp.Or(err, toolErr); err != nil {
		return nil, err
	}

	verdicts := make([]Verdict, len(steps))
	errs := make([]error, len(steps))
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var running sync.WaitGroup
	for i, s := range slices.Backward(steps) { // the later ones take longer
		verdicts[i] = newVerdict(s, s.Number)
		if said, ok := broken[s.Package()]; ok {
			verdicts[i].Trouble = said
			continue
		}
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			errs[i] = verdicts[i].runOwn(ctx, root, cache, tool)
		})
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return verdicts, withEarlier(ctx, root, verdicts)
}

// runOwn runs the tests of the promises that the step adds.
func (v *Verdict) runOwn(ctx context.Context, root, cache, test2json string) error {
	all := make(results)
	program := filepath.Join(cache, v.Step.Name+".test"+exe())
	pattern := fmt.Sprintf("-test.run=^%s$/^%d[.]", server, v.Step.Number)
	err := stream(ctx, all, nil, func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, test2json, "-p", v.Step.Package(), program, "-test.v=test2json", pattern)
		cmd.Dir = filepath.Join(root, filepath.FromSlash(v.Step.Folder()))
		cmd.Env = append(os.Environ(), system.Neutral...)
		system.Stoppable(cmd, syscall.SIGTERM) // it ignores an interrupt, and so does all below
		return cmd
	})
	v.judge(all[v.Step.Package()])
	return err
}

// withEarlier tests the steps that keep their own promises for those of earlier
// steps. While nothing changes, go test answers from its cache.
func withEarlier(ctx context.Context, root string, verdicts []Verdict) error {
	args := []string{"test", "-json", onlyServer}
	for _, v := range verdicts {
		if v.Whole() {
			args = append(args, "./"+v.Step.Folder())
		}
	}
	if len(args) == 3 {
		return nil
	}
	all := make(results)
	if err := stream(ctx, all, nil, func(ctx context.Context) *exec.Cmd { return system.Go(ctx, root, args...) }); err != nil {
		return err
	}
	for i, v := range verdicts {
		if v.Whole() {
			verdicts[i] = newVerdict(v.Step, 1)
			verdicts[i].judge(all[v.Step.Package()])
		}
	}
	return nil
}

func exe() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}
