// Package progress draws how far some work is.
package progress

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Bar is a progress bar. Set may be called by several goroutines at once. The nil Bar draws nothing.
type Bar struct {
	w   io.Writer
	bar *progressbar.ProgressBar
}

// whole is how many steps a bar has.
const whole = 1000

// New starts a bar for what is under way. It is nil where nobody would see it move: in a file or a pipe.
func New(w io.Writer, what string) *Bar {
	if !isTerminal(w) {
		return nil
	}
	return &Bar{w: w, bar: progressbar.NewOptions(whole, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionThrottle(100*time.Millisecond))}
}

// Set says how much is done, from 0 to 1.
func (b *Bar) Set(done float64) {
	if b != nil {
		_ = b.bar.Set(int(min(1, max(0, done)) * whole)) // a bar that cannot be drawn must not end the work
	}
}

// End leaves the line of the bar.
func (b *Bar) End() {
	if b != nil {
		fmt.Fprintln(b.w)
	}
}

// isTerminal tells a character device.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
