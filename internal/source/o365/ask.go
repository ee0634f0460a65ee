package o365

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// ask asks the API. Its quota is one of a minute.
func (p *Poller) ask(ctx context.Context, method, address string) (*upstream.Answer, error) {
	answer, err := p.client.Authorized(ctx, p.tokens, method, address, nil)
	if failed, ok := errors.AsType[*upstream.Error](err); ok && failed.Wait == 0 && codeOf(err) == "AF429" {
		failed.Wait = time.Minute
	}
	return answer, err
}

var code = regexp.MustCompile(`"AF[0-9]{3,6}"`)

// codeOf is the API's own code of an error, "" when it gave none.
func codeOf(err error) string {
	failed, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return ""
	}
	found := code.FindString(failed.Detail)
	if found == "" {
		return ""
	}
	return found[1 : len(found)-1]
}
