package api

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/policy"
)

// rereadEvery is after what time the policy file is looked at again.
const rereadEvery = 3 * time.Second

// inForce is the policies in force: those of a file, read again when somebody asks, or those that ship.
type inForce struct {
	file string // "" is the shipped set

	mu      sync.Mutex
	looked  time.Time
	loaded  time.Time
	text    []byte
	set     *policy.Set
	problem string // why the file as it is now is not what is in force
}

// policySet is one state of it.
type policySet struct {
	set     *policy.Set
	text    []byte
	source  string
	loaded  time.Time
	problem string
}

func openInForce(file string, now time.Time) (*inForce, error) {
	p := &inForce{file: file, looked: now, loaded: now}
	if file == "" {
		p.text, p.set = policy.DefaultYAML(), policy.Default()
		return p, nil
	}
	var err error
	if p.text, err = detector.ReadPolicies(file); err == nil {
		p.set, err = detector.ParsePolicies(p.text)
	}
	if err != nil {
		return nil, fmt.Errorf("policy_file: %w", err)
	}
	return p, nil
}

// now is what is in force. A file that does not load changes nothing, as in the detector.
func (p *inForce) now(now time.Time) policySet {
	p.mu.Lock()
	defer p.mu.Unlock()
	source := "shipped"
	if p.file != "" {
		source = filepath.Base(p.file)
		if now.Sub(p.looked) >= rereadEvery {
			p.looked = now
			p.look(now)
		}
	}
	return policySet{p.set, p.text, source, p.loaded, p.problem}
}

func (p *inForce) look(now time.Time) {
	text, err := detector.ReadPolicies(p.file)
	if err == nil && bytes.Equal(text, p.text) {
		p.problem = ""
		return
	}
	var set *policy.Set
	if err == nil {
		set, err = detector.ParsePolicies(text)
	}
	if err != nil {
		p.problem = err.Error()
		return
	}
	p.text, p.set, p.loaded, p.problem = text, set, now, ""
}

// maxProblems is how many problems of a policy file are told.
const maxProblems = 100

// problemForm is how package policy words a problem: "policies[2].when (line 31): column 5: undeclared reference to 'evnt'".
var problemForm = regexp.MustCompile(`(?s)^([^\s:]*) ?\(line (\d+)\): (?:column (\d+): )?(.*)$`)

// problemsOf are the problems of policies that do not load.
func problemsOf(err error) []PolicyProblem {
	parts := []error{err}
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		parts = joined.Unwrap()
	}
	var list []PolicyProblem
	for _, part := range parts[:min(len(parts), maxProblems)] {
		p := PolicyProblem{Message: part.Error()}
		if m := problemForm.FindStringSubmatch(p.Message); m != nil {
			p.Path, p.Message = m[1], m[4]
			p.Line, _ = strconv.Atoi(m[2])
			p.Column, _ = strconv.Atoi(m[3])
		}
		p.Message = strings.ToValidUTF8(fmt.Sprintf("%.1000s", p.Message), "")
		list = append(list, p)
	}
	return list
}
