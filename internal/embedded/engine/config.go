package engine

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Config of the embedded engine.
type Config struct {
	// Library is the path of libchdb.so. Empty: see FindLibrary.
	Library string `yaml:"library"`
	// DataDir holds the databases. It is created with mode 0700.
	DataDir string `yaml:"data_dir"`
	// MaxStatements run at a time, others wait. 1 to 64.
	MaxStatements int `yaml:"max_statements"`
	// MaxThreads bounds the threads of one statement. 1 to 256.
	MaxThreads int `yaml:"max_threads"`
	// MaxServerMemoryBytes bounds the engine process; a statement that would
	// exceed it fails with code 241.
	MaxServerMemoryBytes uint64 `yaml:"max_server_memory_bytes"`
	// MaxQueryMemoryBytes bounds one statement.
	MaxQueryMemoryBytes uint64 `yaml:"max_query_memory_bytes"`
	// DrainTimeout bounds how long Close waits for statements that run.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// DefaultConfig suits a laptop. DataDir is left to the caller.
func DefaultConfig() Config {
	return Config{
		MaxStatements:        8,
		MaxThreads:           min(runtime.NumCPU(), 4),
		MaxServerMemoryBytes: 2 << 30,
		MaxQueryMemoryBytes:  1 << 30,
		DrainTimeout:         10 * time.Second,
	}
}

// minMemory is what the engine needs to start and merge small parts.
const minMemory = 256 << 20

// Validate reports everything that is wrong.
func (c Config) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if c.DataDir == "" {
		bad("data_dir", "is empty, name the directory that shall hold the databases")
	}
	if c.MaxStatements < 1 || c.MaxStatements > 64 {
		bad("max_statements", "%d is out of range, give 1 to 64", c.MaxStatements)
	}
	if c.MaxThreads < 1 || c.MaxThreads > 256 {
		bad("max_threads", "%d is out of range, give 1 to 256", c.MaxThreads)
	}
	if c.MaxServerMemoryBytes < minMemory {
		bad("max_server_memory_bytes", "%d is too little, give at least %d", c.MaxServerMemoryBytes, minMemory)
	}
	if c.MaxQueryMemoryBytes < 1 || c.MaxQueryMemoryBytes > c.MaxServerMemoryBytes {
		bad("max_query_memory_bytes", "%d is out of range, give 1 to max_server_memory_bytes", c.MaxQueryMemoryBytes)
	}
	if c.DrainTimeout < 0 || c.DrainTimeout > 10*time.Minute {
		bad("drain_timeout", "%s is out of range, give 0s to 10m", c.DrainTimeout)
	}
	return errors.Join(errs...)
}
