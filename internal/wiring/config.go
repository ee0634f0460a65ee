// Package wiring puts components together into processes: what configuration each gets, in which order they start, what
// they share. The binaries in cmd/ and `countersign up` are made of it, so that both run the same code.
package wiring

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/act"
	"github.com/countersign-io/countersign/internal/api"
	"github.com/countersign-io/countersign/internal/archiver"
	"github.com/countersign-io/countersign/internal/courier"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/notify"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/telemetry"
)

// Config is the configuration of an installation: one file serves all its processes, each reads its sections.
type Config struct {
	Kafka      stream.Config   `yaml:"kafka"`
	Topics     TopicsConfig    `yaml:"topics"`
	ClickHouse history.Config  `yaml:"clickhouse"`
	Geo        geo.Config      `yaml:"geo"`
	Ingest     ingest.Config   `yaml:"ingest"`
	Sources    SourcesConfig   `yaml:"sources"`
	Detector   detector.Config `yaml:"detector"`
	Archiver   archiver.Config `yaml:"archiver"`
	API        api.Config      `yaml:"api"`
	// Courier delivers to the receivers that SSF names, with SETs that SigningKeys sign.
	Courier     courier.Config    `yaml:"courier"`
	SSF         ssf.Config        `yaml:"ssf"`
	SigningKeys set.KeyringConfig `yaml:"signing_keys"`
	Act         act.Config        `yaml:"act"`
	// Notify tells people; it runs in the couriers.
	Notify    notify.Config    `yaml:"notify"`
	Telemetry telemetry.Config `yaml:"telemetry"`
}

// Validate reports what concerns several parts: the formats that tokens name are known to the sources.
func (c Config) Validate() error {
	var problems []error
	decoders := senders()
	for i, t := range c.Ingest.Tokens {
		for _, format := range append(slices.Clone(t.Formats), t.Format) {
			if format != "" && format != "*" && format != ingest.FormatReceipt && decoders[format] == nil {
				problems = append(problems, fmt.Errorf("ingest.tokens[%d].format: %.40q is none that can be sent, use one of %s", i, format, strings.Join(names(decoders), ", ")))
			}
		}
	}
	return errors.Join(problems...)
}

// DefaultConfig is every component's own default.
func DefaultConfig() Config {
	return Config{
		Kafka: stream.DefaultConfig(), Topics: DefaultTopics(), ClickHouse: history.DefaultConfig(), Geo: geo.DefaultConfig(),
		Ingest: ingest.DefaultConfig(), Sources: DefaultSources(), Detector: detector.DefaultConfig(), Archiver: archiver.DefaultConfig(),
		API: api.DefaultConfig(), Courier: courier.DefaultConfig(), SSF: ssf.DefaultConfig(), SigningKeys: set.DefaultKeyringConfig(),
		Act: act.DefaultConfig(), Notify: notify.DefaultConfig(), Telemetry: telemetry.DefaultConfig(),
	}
}
