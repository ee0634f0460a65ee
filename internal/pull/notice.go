package pull

import (
	"strings"
	"sync"
	"time"
	"unicode"

	"go.uber.org/zap"
)

// notice logs that something began to fail, and that it works again, and nothing in between.
type notice struct {
	log           *zap.Logger
	fails, mended string
	mu            sync.Mutex
	failing       bool
	began         time.Time
}

func newNotice(log *zap.Logger, fails, mended string) *notice {
	return &notice{log: log, fails: fails, mended: mended}
}

func (n *notice) failed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failing {
		return
	}
	n.failing, n.began = true, time.Now()
	n.log.Warn(n.fails, zap.String("error", oneLine(err)))
}

func (n *notice) worked() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.failing {
		return
	}
	n.failing = false
	n.log.Info(n.mended, zap.Duration("after", time.Since(n.began)))
}

// maxError bounds the error text that is kept of a source, in bytes.
const maxError = 500

// oneLine is what a person is shown of an error. Parts of it may have come from outside.
func oneLine(err error) string {
	text := strings.ToValidUTF8(err.Error(), "?")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "") + "…"
	}
	return text
}
