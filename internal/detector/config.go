package detector

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/org"
)

// Config of the detector.
type Config struct {
	// Group is the consumer group that spreads partitions over detectors.
	Group string `yaml:"group"`
	// PolicyFile is the policy in force; empty means the one that ships.
	PolicyFile string `yaml:"policy_file"`
	// ContinueAfterLoss goes on, counted, behind events that retention deleted before they were decided on. Without it
	// the partition stops until a person looks.
	ContinueAfterLoss bool `yaml:"continue_after_loss"`
	// SessionTimeout is how long the group waits for a detector that is silent before others take over its partitions.
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// Anomaly holds the parameters of the detections.
	Anomaly anomaly.Config `yaml:"anomaly"`
	// Network holds the parameters of the network stage.
	Network org.Config `yaml:"network"`
}

// DefaultConfig is the shipped policy with the default parameters.
func DefaultConfig() Config {
	return Config{
		Group: "countersign-detector", SessionTimeout: 30 * time.Second, Anomaly: anomaly.DefaultConfig(), Network: org.DefaultConfig(),
	}
}

// Validate reports every problem.
func (c Config) Validate() error {
	var errs []error
	if c.Group == "" {
		errs = append(errs, errors.New("group: is empty, name the consumer group"))
	}
	if c.SessionTimeout < time.Second || c.SessionTimeout > 5*time.Minute {
		errs = append(errs, fmt.Errorf("session_timeout: is %s, must be between 1s and 5m", c.SessionTimeout))
	}
	errs = append(errs, below("anomaly", c.Anomaly.Validate()), below("network", c.Network.Validate()))
	return errors.Join(errs...)
}

// below puts a section's name before each of its problems, which are one a line.
func below(section string, err error) error {
	if err == nil {
		return nil
	}
	return errors.New(section + "." + strings.ReplaceAll(err.Error(), "\n", "\n"+section+"."))
}
