package verdict

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"example.com/wsworkshop/steps/internal/system"
	"example.com/wsworkshop/steps/internal/workshop"
)

// programs returns the folder for the test programs of this repository.
func programs(root string) (string, error) {
	cache, err := system.Cache()
	dir := filepath.Join(cache, fmt.Sprintf("%x", sha256.Sum256([]byte(root)))[:12])
	if err := cmp.Or(err, os.MkdirAll(dir, 0o777)); err != nil {
		return "", fmt.Errorf("a folder for test programs: %w", err)
	}
	forgetOthers(dir)
	return dir + string(filepath.Separator), nil
}

// forgetOthers removes the folders of test programs that nobody has used for a
// month, such as those of a repository that was moved. What cannot be removed stays.
func forgetOthers(dir string) {
	now := time.Now()
	os.Chtimes(dir, now, now)
	entries, _ := os.ReadDir(filepath.Dir(dir))
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && now.Sub(info.ModTime()) > 30*24*time.Hour {
			os.RemoveAll(filepath.Join(filepath.Dir(dir), entry.Name()))
		}
	}
}

// packageLine is above what the compiler says of a package. go vet has another one,
// with the name in brackets, right below it.
var packageLine = regexp.MustCompile(`(?m)^# ([^\s\[]\S*).*\n(?:# \[.*\n)?`)

// build builds the test programs of steps, and returns what the compiler says of
// those that do not build, by import path.
func build(ctx context.Context, root, cache string, steps []workshop.Step) (broken map[string]string, err error) {
	broken = make(map[string]string)
	args := []string{"test", "-c", "-ldflags=-s -w", "-o", cache}
	for _, s := range steps {
		if says := withoutTests(root, s); says != "" {
			broken[s.Package()] = says
		} else {
			args = append(args, "./"+s.Folder())
		}
	}
	output, err := system.Go(ctx, root, args...).CombinedOutput()
	if err == nil || len(broken) == len(steps) {
		return broken, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	says := byPackage(string(output))
	maps.Copy(broken, says)
	for _, s := range steps {
		if _, ok := says[s.Package()]; ok {
			return broken, nil
		}
	}
	return nil, fmt.Errorf("the tests of the steps do not build: %w\n%s", err, output)
}

// byPackage returns what the compiler and go vet say, by the import path of the
// package that they speak of.
func byPackage(output string) map[string]string {
	says := make(map[string]string)
	heads := packageLine.FindAllStringSubmatchIndex(output, -1)
	for i, head := range heads {
		end := len(output)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		says[output[head[2]:head[3]]] = CompilerSays(output[head[1]:end])
	}
	return says
}

// test2json returns the path of the tool that turns what a test program prints into
// events. "go tool test2json" does the same, and looks for it each time.
func test2json(ctx context.Context, root string) (string, error) {
	path, err := system.Go(ctx, root, "tool", "-n", "test2json").Output()
	if err != nil {
		return "", fmt.Errorf("go tool -n test2json: %w", err)
	}
	return strings.TrimSpace(string(path)), nil
}
