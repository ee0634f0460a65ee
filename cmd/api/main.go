// Command api serves the page, the REST interface and the live feed.
package main

import (
	"os"

	"github.com/countersign-io/countersign/internal/wiring"
)

func main() {
	os.Exit(wiring.Main("api", []string{"api", "clickhouse", "detector"}, func(p *wiring.Process) error {
		_, err := p.AddAPI()
		return err
	}))
}
