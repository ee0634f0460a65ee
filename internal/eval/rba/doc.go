// Package rba reads the public data set of risk-based authentication (Wiefling, Jørgensen, Thunem and Lo Iacono, "Pump Up
// Password Security!", ACM TOPS 2022, doi 10.1145/3546069; CC BY 4.0) as events with labels.
//
// The user supplies the file, "rba-dataset.csv", as it is, gzipped or in a zip archive; it is not part of countersign. Rows
// are streamed: memory does not grow with the file.
//
// The data are synthesised from real ones. What they are fit for, [Fit] says, and the events hold no more than that: no
// coordinates and no city, because places were assigned at random; no session and no second factor, because there are none.
package rba
