package geo

import (
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

//go:embed carriers.txt
var carriers string

// carriersBuilt is the day carriers.txt was last looked through.
var carriersBuilt = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// carrierLists are the lists that ship: carriers.txt by class.
func carrierLists() []List {
	byClass := map[events.Class]*List{}
	for _, class := range []events.Class{events.Satellite, events.Mobile} {
		byClass[class] = &List{Name: "countersign-" + string(class), Class: class, Built: carriersBuilt}
	}
	for line := range strings.Lines(carriers) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		l := byClass[events.Class(fields[1])]
		l.Entries = append(l.Entries, fields[0])
	}
	return []List{*byClass[events.Satellite], *byClass[events.Mobile]}
}

// Stale is something that is older than it may be.
type Stale struct {
	Name string
	Age  time.Duration
	Max  time.Duration
}

func (s Stale) String() string {
	return fmt.Sprintf("%s is %d days old, at most %d are allowed", s.Name, int(s.Age.Hours()/24), int(s.Max.Hours()/24))
}
