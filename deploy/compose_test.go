package deploy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// composeFile is the part of a compose file that the tests look at.
type composeFile struct {
	Services map[string]composeService
	Secrets  map[string]struct{ File string }
	Volumes  map[string]any
}

type composeService struct {
	Image   string
	Extends struct{ File, Service string }
	Build   struct {
		Context, Target string
		Args            map[string]string
	}
	Command     []string
	Ports       []string
	Volumes     []string
	Secrets     []secretMount
	Environment map[string]string
	Restart     string
	HealthCheck struct {
		Test    []string
		Disable bool
	} `yaml:"healthcheck"`
	DependsOn map[string]struct{ Condition string } `yaml:"depends_on"`
	ReadOnly  bool                                  `yaml:"read_only"`
}

// secretMount is a secret by its name, or with a place of its own.
type secretMount struct{ Source, Target string }

func (s *secretMount) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&s.Source)
	}
	type plain secretMount
	return n.Decode((*plain)(s))
}

func readCompose(t *testing.T, path string) composeFile {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file composeFile
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&file); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if len(file.Services) == 0 {
		t.Fatalf("%s has no services", path)
	}
	return file
}

func TestComposeServices(t *testing.T) {
	t.Parallel()
	images := readCompose(t, "images.yaml")
	compose := readCompose(t, filepath.Join("..", "docker-compose.yml"))
	for _, name := range []string{"kafka", "clickhouse", "ingest", "detector", "archiver", "courier", "api", "prometheus", "grafana"} {
		if _, ok := compose.Services[name]; !ok {
			t.Errorf("no service %s", name)
		}
	}
	for name, s := range compose.Services {
		if s.Image != "" || s.Build.Context != "" {
			t.Errorf("%s names an image or a build of its own: versions are in deploy/images.yaml", name)
		}
		if s.Extends.File != "deploy/images.yaml" {
			t.Errorf("%s does not extend deploy/images.yaml", name)
		} else if _, ok := images.Services[s.Extends.Service]; !ok {
			t.Errorf("%s extends %s, which deploy/images.yaml has not", name, s.Extends.Service)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s publishes %s beyond loopback", name, port)
			}
		}
		for _, volume := range s.Volumes {
			source, target, _ := strings.Cut(volume, ":")
			if _, named := compose.Volumes[source]; named {
				continue
			}
			if !strings.HasSuffix(target, ":ro") {
				t.Errorf("%s may write to %s of this repository", name, source)
			}
			if _, err := os.Stat(filepath.Join("..", source)); err != nil {
				t.Errorf("%s mounts %s: %v", name, source, err)
			}
		}
		for _, secret := range s.Secrets {
			if _, ok := compose.Secrets[secret.Source]; !ok {
				t.Errorf("%s uses the secret %s, which is not declared", name, secret.Source)
			}
		}
		for on, how := range s.DependsOn {
			other, ok := compose.Services[on]
			switch {
			case !ok:
				t.Errorf("%s depends on %s, which does not exist", name, on)
			case how.Condition == "service_healthy" && len(other.HealthCheck.Test) == 0:
				t.Errorf("%s waits for the health of %s, which has no check", name, on)
			case how.Condition == "service_completed_successfully" && other.Restart != "no":
				t.Errorf("%s waits for the end of %s, which restarts", name, on)
			}
		}
		if s.Restart == "no" {
			continue // ends by itself
		}
		if len(s.HealthCheck.Test) == 0 || s.HealthCheck.Disable {
			t.Errorf("%s has no health check", name)
		}
		for key, value := range s.Environment {
			file, ok := strings.CutPrefix(value, "/run/secrets/")
			if ok && !slices.Contains(s.Secrets, secretMount{Source: file}) {
				t.Errorf("%s: %s is %s, which it is not given", name, key, value)
			}
			if !ok && regexp.MustCompile(`PASSWORD|SECRET|TOKEN`).MatchString(key) {
				t.Errorf("%s: %s is no file of secrets", name, key)
			}
		}
		if s.Extends.Service != "kafka" && s.Extends.Service != "clickhouse" && !s.ReadOnly {
			t.Errorf("%s may write to its own image", name)
		}
	}
}

// TestImagesArePinned: no image floats, and the Dockerfile takes all its bases from images.yaml.
func TestImagesArePinned(t *testing.T) {
	t.Parallel()
	images := readCompose(t, "images.yaml")
	pinned := regexp.MustCompile(`:v?[0-9][0-9.]*(-[a-z]+)*$|:[0-9a-z.]+-[a-z0-9-]+$|@sha256:[0-9a-f]{64}$`)
	for name, s := range images.Services {
		if len(s.Build.Args) == 0 && !pinned.MatchString(s.Image) {
			t.Errorf("%s: image %q names no version", name, s.Image)
		}
		for arg, value := range s.Build.Args {
			if strings.HasSuffix(arg, "_IMAGE") && !pinned.MatchString(value) {
				t.Errorf("%s: %s=%q names no version", name, arg, value)
			}
		}
	}

	user := checkDockerfile(t, filepath.Join("..", "Dockerfile"), images.Services["countersign"])
	if user == "" || strings.HasPrefix(user, "0") || user == "root" {
		t.Errorf("Dockerfile runs as root")
	}
	if user := checkDockerfile(t, filepath.Join("grafana", "Dockerfile"), images.Services["grafana"]); user != "grafana" {
		t.Errorf("Grafana runs as %q", user)
	}
}

// checkDockerfile looks that all bases come from the service's build arguments, and returns the user that it ends with.
func checkDockerfile(t *testing.T, path string, service composeService) string {
	t.Helper()
	dockerfile, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	build := service.Build
	stages := map[string]bool{}
	for _, from := range regexp.MustCompile(`(?m)^FROM (\S+) AS (\S+)$`).FindAllStringSubmatch(string(dockerfile), -1) {
		base, stage := from[1], from[2]
		stages[stage] = true
		arg, isArg := strings.CutPrefix(strings.TrimSuffix(base, "}"), "${")
		switch {
		case isArg && build.Args[arg] == "":
			t.Errorf("%s: %s is no build argument of images.yaml", path, arg)
		case !isArg && !stages[base]:
			t.Errorf("%s: FROM %s names an image outside images.yaml", path, base)
		}
	}
	if build.Target != "" && !stages[build.Target] {
		t.Errorf("images.yaml builds target %q, the Dockerfile has %v", build.Target, slices.Sorted(maps.Keys(stages)))
	}
	users := regexp.MustCompile(`(?m)^USER (\S+)$`).FindAllStringSubmatch(string(dockerfile), -1)
	if len(users) == 0 {
		return ""
	}
	return users[len(users)-1][1]
}

// TestGeoComesWithTheImage: the files that the shipped configuration names are where the Dockerfile puts the assets, under
// the names that `make assets` gives them.
func TestGeoComesWithTheImage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("config", "countersign.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct{ Geo struct{ City, ASN []string } }
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Geo.City) == 0 || len(config.Geo.ASN) == 0 {
		t.Fatal("ingest would find no places: geo.city or geo.asn is empty")
	}
	dockerfile, err := os.ReadFile(filepath.Join("..", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	const from = "/assets/node_modules/@ip-location-db"
	into := regexp.MustCompile(`COPY --from=assets ` + from + ` (\S+)`).FindSubmatch(dockerfile)
	if into == nil {
		t.Fatalf("the Dockerfile does not copy %s", from)
	}
	installed := filepath.Join("..", ".cache", from)
	_, err = os.Stat(installed)
	for _, path := range slices.Concat(config.Geo.City, config.Geo.ASN) {
		name, ok := strings.CutPrefix(path, string(into[1])+"/")
		if !ok {
			t.Errorf("%s is not below %s, where the image has its databases", path, into[1])
		} else if err == nil {
			if _, err := os.Stat(filepath.Join(installed, name)); err != nil {
				t.Errorf("%s: `make assets` installs no such file: %v", path, err)
			}
		}
	}
}

// TestVersionsAgree: the Go that builds the image is go.mod's, and its ClickHouse is the embedded engine's release.
func TestVersionsAgree(t *testing.T) {
	t.Parallel()
	images := readCompose(t, "images.yaml")
	find := func(path, pattern string) string {
		text, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(pattern).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s does not match %s", path, pattern)
		}
		return string(m[1])
	}
	toolchain := find("go.mod", `(?m)^toolchain go(\S+)$`)
	if want, got := "golang:"+toolchain+"-bookworm", images.Services["countersign"].Build.Args["GO_IMAGE"]; got != want {
		t.Errorf("GO_IMAGE is %s, go.mod wants %s", got, want)
	}
	engine := find(filepath.Join("tools", "assets", "package.json"), `"@chdb/lib-linux-x64-gnu": "(\d+\.\d+)\.`)
	if want, got := "clickhouse/clickhouse-server:"+engine, images.Services["clickhouse"].Image; !strings.HasPrefix(got, want) {
		t.Errorf("clickhouse is %s, the embedded engine is %s", got, engine)
	}
	promtool := find(filepath.Join("tools", "promtool", "go.mod"), `github\.com/prometheus/prometheus v0\.(\d+\.\d+)`)
	// The module v0.316.0 is the release 3.16.0.
	major, rest := promtool[:1], promtool[1:]
	if want, got := "prom/prometheus:v"+major+"."+rest, images.Services["prometheus"].Image; got != want {
		t.Errorf("prometheus is %s, its rules are tested with %s", got, want)
	}
	kafka := find(filepath.Join("tools", "kafka", "pom.xml"), `<kafka\.version>(\S+)</kafka\.version>`)
	if want, got := "apache/kafka:"+kafka, images.Services["kafka"].Image; got != want {
		t.Errorf("kafka is %s, the tests run on %s", got, kafka)
	}
}

func TestSecretsAreMadeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script, err := os.ReadFile("secrets.sh")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "secrets.sh")
	if err := os.WriteFile(path, script, 0o700); err != nil {
		t.Fatal(err)
	}
	run := func() map[string]string {
		if out, err := exec.CommandContext(t.Context(), "/bin/sh", path).CombinedOutput(); err != nil {
			t.Fatalf("secrets.sh: %v\n%s", err, out)
		}
		got := map[string]string{}
		for name, secret := range readCompose(t, filepath.Join("..", "docker-compose.yml")).Secrets {
			text, err := os.ReadFile(filepath.Join(dir, "secrets", filepath.Base(secret.File)))
			if err != nil {
				t.Fatalf("secret %s of docker-compose.yml: %v", name, err)
			}
			got[name] = string(text)
		}
		return got
	}
	first, second := run(), run()
	seen := map[string]bool{}
	for name, secret := range first {
		if seen[secret] {
			t.Errorf("%s is another's", name)
		}
		if name == "clickhouse-grafana-user" {
			hash := sha256.Sum256([]byte(first["grafana-clickhouse-password"]))
			if want := "<password_sha256_hex>" + hex.EncodeToString(hash[:]) + "</password_sha256_hex>"; !strings.Contains(secret, want) {
				t.Errorf("%s is %s, which is not of the password", name, secret)
			}
		} else if strings.HasPrefix(name, "courier-") {
			if block, rest := pem.Decode([]byte(secret)); block == nil || len(bytes.TrimSpace(rest)) > 0 {
				t.Errorf("%s is no PEM", name)
			}
		} else if !regexp.MustCompile(`^[A-Za-z0-9_-]{32}$`).MatchString(secret) {
			t.Errorf("%s is %d characters, want 32 of base64url", name, len(secret))
		}
		seen[secret] = true
		if second[name] != secret {
			t.Errorf("%s was made anew", name)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "secrets"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("secrets has mode %v (%v), want 0700", info.Mode(), err)
	}
}

// TestComposeConfig has docker read the file, where there is a docker with compose.
func TestComposeConfig(t *testing.T) {
	t.Parallel()
	if err := exec.CommandContext(t.Context(), "docker", "compose", "version").Run(); err != nil {
		t.Skip("no docker compose here; the other tests read the file themselves")
	}
	cmd := exec.CommandContext(t.Context(), "docker", "compose", "--file", "docker-compose.yml", "config", "--quiet")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("docker compose config: %v\n%s", err, out)
	}
}
