// Command ingest takes records in over HTTP, makes them events and puts them on the log.
package main

import (
	"os"

	"github.com/countersign-io/countersign/internal/wiring"
)

func main() {
	os.Exit(wiring.Main("ingest", []string{"ingest", "geo"}, func(p *wiring.Process) error {
		_, err := p.AddIngest()
		return err
	}))
}
