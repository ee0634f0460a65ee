package graphsdk

import (
	"github.com/countersign-io/countersign/internal/source/entra/graph"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// Connect is New with another way to a token; build is called again after every token that was refused.
func Connect(address string, build func() (credential, error)) (graph.Getter, error) {
	c, err := newRenewable(build)
	if err != nil {
		return nil, err
	}
	return newClient(address, c, newTransport(), upstream.MaxBody)
}
