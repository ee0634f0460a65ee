// Package score turns what was decided about labelled events into figures: re-authentication rates against true positive
// rates, recall by attack, false alarms by confounder, precision at a base rate, what every rule contributes.
//
// It knows neither the detector nor the simulator: it is given scores, events with labels, and alerts. The same inputs
// give the same figures.
package score
