// Package scenario is the dialogue with the runner.
package scenario

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
)

// Large is a value of 2 MB.
var Large = strings.Repeat("x", 2<<20)

// Phase is what the runner tells of a phase.
type Phase struct {
	Column string
	Star   []string
	Wide   bool
	Tag    string
	ID     int32
}

// Step is one feature of the driver; it panics when an answer is not as it should be.
type Step struct {
	Feature string
	Run     func(*Phase)
}

// Check panics when two values are not the same in print.
func Check(actual, expected any) {
	if a, e := fmt.Sprint(actual), fmt.Sprint(expected); a != e {
		panic(fmt.Sprintf("%.200s is not %.200s", a, e))
	}
}

// Must panics on an error.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// Version of a module that is built in.
func Version(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == path {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "?"
}

// Run answers each phase; a step that fails does not keep the others from running.
func Run(version, driver string, steps []Step, recovers func()) {
	fmt.Println("ready " + version)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		phase := &Phase{Column: words[2], Star: strings.Split(words[3], ","), Wide: words[4] == "wide", Tag: driver + " " + words[1]}
		var done, errors []string
		for _, step := range steps {
			if step.Feature == "wide" && !phase.Wide {
				continue
			}
			if failure := try(step, phase); failure != "" {
				errors = append(errors, step.Feature+": "+failure)
				recovers()
			} else {
				done = append(done, step.Feature)
			}
		}
		if len(errors) > 0 {
			fmt.Println("error: " + strings.ReplaceAll(strings.Join(errors, "; "), "\n", " "))
		} else {
			fmt.Println("ok " + strings.Join(done, ","))
		}
	}
}

func try(step Step, phase *Phase) (failure string) {
	defer func() {
		if reason := recover(); reason != nil {
			failure = fmt.Sprint(reason)
		}
	}()
	step.Run(phase)
	return ""
}
