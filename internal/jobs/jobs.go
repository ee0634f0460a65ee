// Package jobs runs long work in the background: one job at a time, others wait in a bounded queue. A job has limits of
// time, memory and result, can be cancelled while it waits and while it runs, and reports progress. What is known of jobs,
// and their results, is in memory: some of the newest that ended are kept, and none outlives the process.
package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// State says how a job stands.
type State string

// The states. The last three are final.
const (
	Queued    State = "queued"
	Running   State = "running"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Errors of Submit.
var (
	// ErrFull is returned when as many jobs wait as may.
	ErrFull = errors.New("too many jobs wait")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("jobs are not taken any more")
)

// Causes for which a job's context ends before its work does.
var (
	ErrTime      = errors.New("it took longer than is allowed")
	ErrMemory    = errors.New("it needs more memory than is allowed")
	errCancelled = errors.New("cancelled")
)

// Config holds the limits.
type Config struct {
	// Waiting is how many jobs may wait, Kept how many are remembered that have ended.
	Waiting int `yaml:"waiting"`
	Kept    int `yaml:"kept"`
	// Time bounds how long one may run.
	Time time.Duration `yaml:"time"`
	// Memory is by how many bytes the live heap of the process may grow while one runs. Others use the heap too, so it is
	// a guard and no exact limit.
	Memory int64 `yaml:"memory"`
	// Result bounds a result, in bytes.
	Result int `yaml:"result"`
}

// DefaultConfig lets a job have 15 minutes and a gigabyte.
func DefaultConfig() Config {
	return Config{Waiting: 8, Kept: 20, Time: 15 * time.Minute, Memory: 1 << 30, Result: 4 << 20}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	between := func(path string, value, low, high int64) {
		if value < low || value > high {
			errs = append(errs, fmt.Errorf("%s: is %d, must be between %d and %d", path, value, low, high))
		}
	}
	between("waiting", int64(c.Waiting), 1, 1000)
	between("kept", int64(c.Kept), 1, 1000)
	between("memory", c.Memory, 64<<20, 1<<40)
	between("result", int64(c.Result), 1<<10, 64<<20)
	if c.Time < time.Second || c.Time > 24*time.Hour {
		errs = append(errs, fmt.Errorf("time: is %v, must be between 1s and 24h", c.Time))
	}
	return errors.Join(errs...)
}

// Work is what a job does. It must stop soon after ctx ends; context.Cause says why that is. progress takes how much is
// done, from 0 to 1, from any goroutine. The result is the queue's to keep. What err says is shown to people.
type Work func(ctx context.Context, progress func(done float64)) (result []byte, err error)

// Job is what is known of a job; About is what its submitter wants to remember of it.
type Job[A any] struct {
	ID       string
	About    A
	State    State
	Progress float64
	Created  time.Time
	// Started and Ended are zero before.
	Started, Ended time.Time
	// Error says why it failed.
	Error string
	// Result is that of a job that is done. It must not be changed.
	Result []byte
}

// Over reports whether nothing changes any more.
func (j *Job[A]) Over() bool { return j.State != Queued && j.State != Running }

// Queue runs jobs. It is safe for concurrent use.
type Queue[A any] struct {
	cfg    Config
	broken func(id string, cause any, stack []byte)
	heap   func() uint64

	mu      sync.Mutex
	jobs    []*entry[A] // oldest first, whatever their state
	working bool
	closed  bool
	idle    sync.WaitGroup
}

type entry[A any] struct {
	Job[A]
	work     Work
	progress atomic.Uint64 // bits of a float
	cancel   context.CancelCauseFunc
}

// New returns a queue. cfg is valid. broken is told of work that panicked; it may be nil.
func New[A any](cfg Config, broken func(id string, cause any, stack []byte)) *Queue[A] {
	if broken == nil {
		broken = func(string, any, []byte) {}
	}
	return &Queue[A]{cfg: cfg, broken: broken, heap: liveHeap}
}

// NewID makes an id for Submit.
func NewID() string { return strings.ToLower(rand.Text()) }

// Submit takes a job, which runs when those before it have ended.
func (q *Queue[A]) Submit(id string, about A, work Work) (Job[A], error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := 0
	for _, e := range q.jobs {
		if e.State == Queued {
			waiting++
		}
	}
	switch {
	case q.closed:
		return Job[A]{}, ErrClosed
	case waiting >= q.cfg.Waiting:
		return Job[A]{}, ErrFull
	}
	e := &entry[A]{Job: Job[A]{ID: id, About: about, State: Queued, Created: time.Now()}, work: work}
	q.jobs = append(q.jobs, e)
	if !q.working {
		q.working = true
		q.idle.Go(q.run)
	}
	return e.view(), nil
}

// Get returns what is known of a job.
func (q *Queue[A]) Get(id string) (Job[A], bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := q.index(id); i >= 0 {
		return q.jobs[i].view(), true
	}
	return Job[A]{}, false
}

// List returns what is known of all jobs, newest first.
func (q *Queue[A]) List() []Job[A] {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := make([]Job[A], 0, len(q.jobs))
	for _, e := range slices.Backward(q.jobs) {
		list = append(list, e.view())
	}
	return list
}

// Cancel cancels a job that waits or runs, and forgets one that has ended. It returns the job as it is after that, or was.
// The place of one that ran is free when its work has returned.
func (q *Queue[A]) Cancel(id string) (Job[A], bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.index(id)
	if i < 0 {
		return Job[A]{}, false
	}
	e := q.jobs[i]
	if e.Over() {
		q.jobs = slices.Delete(q.jobs, i, i+1)
		return e.view(), true
	}
	if e.cancel != nil {
		e.cancel(errCancelled)
	}
	q.end(e, Cancelled, "", nil)
	return e.view(), true
}

// Close cancels all jobs, takes no more, and waits until the work at hand has returned.
func (q *Queue[A]) Close() {
	q.mu.Lock()
	q.closed = true
	for _, e := range slices.Clone(q.jobs) {
		if e.Over() {
			continue
		}
		if e.cancel != nil {
			e.cancel(errCancelled)
		}
		q.end(e, Cancelled, "", nil)
	}
	q.mu.Unlock()
	q.idle.Wait()
}

func (q *Queue[A]) index(id string) int {
	return slices.IndexFunc(q.jobs, func(e *entry[A]) bool { return e.ID == id })
}

// view is the job as it is now. The lock is held.
func (e *entry[A]) view() Job[A] {
	j := e.Job
	if j.State == Running {
		j.Progress = math.Float64frombits(e.progress.Load())
	}
	return j
}

// end brings a job to its final state, and forgets the oldest ones that have ended. The lock is held.
func (q *Queue[A]) end(e *entry[A], state State, problem string, result []byte) {
	e.Progress = math.Float64frombits(e.progress.Load())
	if state == Done {
		e.Progress = 1
	}
	e.State, e.Ended, e.Error, e.Result, e.work = state, time.Now(), problem, result, nil
	over := 0
	for _, other := range q.jobs {
		if other.Over() {
			over++
		}
	}
	q.jobs = slices.DeleteFunc(q.jobs, func(other *entry[A]) bool {
		forget := over > q.cfg.Kept && other.Over()
		if forget {
			over--
		}
		return forget
	})
}

// run works until nothing waits.
func (q *Queue[A]) run() {
	for {
		q.mu.Lock()
		i := slices.IndexFunc(q.jobs, func(e *entry[A]) bool { return e.State == Queued })
		if i < 0 {
			q.working = false
			q.mu.Unlock()
			return
		}
		e := q.jobs[i]
		ctx, cancel := context.WithCancelCause(context.Background())
		e.State, e.Started, e.cancel = Running, time.Now(), cancel
		work := e.work
		q.mu.Unlock()

		result, err := q.work(ctx, cancel, e, work)
		if err == nil && len(result) > q.cfg.Result {
			err = fmt.Errorf("the result has %d bytes, at most %d are kept: ask for less", len(result), q.cfg.Result)
		}
		q.mu.Lock()
		switch {
		case e.Over(): // cancelled
		case err != nil:
			q.end(e, Failed, err.Error(), nil)
		default:
			q.end(e, Done, "", result)
		}
		q.mu.Unlock()
		cancel(nil)
	}
}

// work does one job under its limits.
func (q *Queue[A]) work(ctx context.Context, cancel context.CancelCauseFunc, e *entry[A], work Work) (result []byte, err error) {
	ctx, stop := context.WithTimeoutCause(ctx, q.cfg.Time, ErrTime)
	defer stop()
	watched := make(chan struct{})
	limit := q.heap() + uint64(q.cfg.Memory)
	go func() {
		defer close(watched)
		q.watch(ctx, cancel, limit)
	}()
	defer func() { <-watched }()
	defer stop() // before the wait for the watch
	defer func() {
		if cause := recover(); cause != nil {
			q.broken(e.ID, cause, debug.Stack())
			result, err = nil, errors.New("it broke, the log says how")
		}
	}()
	result, err = work(ctx, func(done float64) {
		e.progress.Store(math.Float64bits(min(max(done, 0), 1)))
	})
	if cause := context.Cause(ctx); err != nil && (errors.Is(cause, ErrTime) || errors.Is(cause, ErrMemory)) {
		err = cause
	}
	return result, err
}

// watchEvery is how often the heap is looked at.
const watchEvery = 250 * time.Millisecond

// watch ends the job when the heap is larger than limit.
func (q *Queue[A]) watch(ctx context.Context, cancel context.CancelCauseFunc, limit uint64) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if q.heap() > limit {
				cancel(ErrMemory)
				return
			}
		}
	}
}

// liveHeap is how many bytes of the heap were in use at the last collection. The heap in whole may be twice that.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
