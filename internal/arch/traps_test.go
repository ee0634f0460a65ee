package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// traps is how many traps of source formats are known; each has a number, T1 to T47.
const traps = 47

var (
	testName  = regexp.MustCompile(`(?m)^func (Test\w*T\d+\w*)\(`)
	trapSpan  = regexp.MustCompile(`T(\d+)ToT(\d+)`)
	trapAlone = regexp.MustCompile(`T(\d+)`)
)

// trapsOf are the numbers in the name of a test, such as TestT1ToT6_Times or TestT36_T38_Okta.
func trapsOf(name string) map[int]bool {
	found := map[int]bool{}
	number := func(s string) int {
		n, _ := strconv.Atoi(s) // the pattern holds digits only
		return n
	}
	for _, m := range trapSpan.FindAllStringSubmatch(name, -1) {
		for n := number(m[1]); n <= number(m[2]); n++ {
			found[n] = true
		}
	}
	for _, m := range trapAlone.FindAllStringSubmatch(name, -1) {
		found[number(m[1])] = true
	}
	return found
}

// Every known trap of a source's format has a test with its number in its name.
func TestEveryTrapHasATest(t *testing.T) {
	t.Parallel()
	found := map[int]bool{}
	for _, root := range []string{"source", "ingest", "geo"} {
		err := filepath.WalkDir(filepath.Join("..", root), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range testName.FindAllStringSubmatch(string(text), -1) {
				for n := range trapsOf(m[1]) {
					found[n] = true
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n <= traps; n++ {
		if !found[n] {
			t.Errorf("trap T%d has no test with its number in its name", n)
		}
	}
}

func TestTrapNumbersAreRead(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"TestT1ToT6_Times": 6, "TestT36_T38_Okta": 2, "TestT44_Risk": 1, "TestTimes": 0} {
		if got := trapsOf(name); len(got) != want {
			t.Errorf("%s: %v, want %d traps", name, got, want)
		}
	}
}
