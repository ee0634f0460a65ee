package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

//go:embed pom.xml
var pom []byte

// errMissing says that the machine lacks a tool that this lane needs.
var errMissing = errors.New("the real Kafka lane needs Java 17 or later and Maven (Debian: openjdk-17-jre-headless, maven)")

const oldestJava = 17

var javaVersion = regexp.MustCompile(`version "(\d+)`)

// findJava returns the java command of JAVA_HOME or the path, if it is new enough.
func findJava(ctx context.Context) (string, error) {
	java := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java = filepath.Join(home, "bin", "java")
	}
	java, err := exec.LookPath(java)
	if err != nil {
		return "", fmt.Errorf("%w: no java", errMissing)
	}
	out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s -version: %w", errMissing, java, err)
	}
	match := javaVersion.FindSubmatch(out)
	if match == nil {
		return "", fmt.Errorf("%w: %s does not tell its version", errMissing, java)
	}
	if major, err := strconv.Atoi(string(match[1])); err != nil || major < oldestJava {
		return "", fmt.Errorf("%w: %s is version %s", errMissing, java, match[1])
	}
	return java, nil
}

// fetchJars returns the directory with Kafka's jars, fetching them when the cache holds none for this pom.xml. The
// directory is named for the pom's digest and appears by a rename, so it is complete or absent.
func fetchJars(ctx context.Context, cache string) (string, error) {
	digest := sha256.Sum256(pom)
	dir, err := filepath.Abs(filepath.Join(cache, hex.EncodeToString(digest[:8])))
	if err != nil {
		return "", fmt.Errorf("finding the cache: %w", err)
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("%w: no mvn", errMissing)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("creating the cache: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return "", fmt.Errorf("creating the cache: %w", err)
	}
	defer os.RemoveAll(work)
	file := filepath.Join(work, "pom.xml")
	if err := os.WriteFile(file, pom, 0o600); err != nil {
		return "", fmt.Errorf("writing the pom: %w", err)
	}
	fmt.Fprintln(os.Stderr, "fetching Apache Kafka's jars with Maven (once) ...")
	jars := filepath.Join(work, "jars")
	cmd := exec.CommandContext(ctx, mvn, "--batch-mode", "--no-transfer-progress", "--quiet", "--file", file,
		"dependency:copy-dependencies", "-DoutputDirectory="+jars)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetching Kafka's jars: %w\n%s", err, bytes.TrimSpace(out))
	}
	if err := os.Rename(jars, dir); err != nil && !errors.Is(err, os.ErrExist) && !strings.Contains(err.Error(), "not empty") {
		return "", fmt.Errorf("keeping Kafka's jars: %w", err)
	}
	return dir, nil
}
