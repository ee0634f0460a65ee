// Package eval measures the detector on a simulated company: the stream of internal/eval/company goes through
// [detector.Engine] and, event for event, through the restated rules of other systems, and internal/eval/score judges both
// by the labels.
//
// It reads the clock only to measure how long a decision takes; all else is a function of the seed.
package eval
