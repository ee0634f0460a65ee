// Package familiarity scores how unlike its user a login is (FAM-01), after Freeman et al. (NDSS 2016) and Wiefling et al.
// (ACM TOPS 2022).
//
// A login has features, each a hierarchy of levels from fine to coarse: the network (address, AS number, country), the
// user agent (the whole text, browser and version, operating system, type of device) and the device's id. [Counts] are one
// user's counters of the levels' values, [Totals] a tenant's, [Prior] what a tenant's counters say, ready for look-ups.
// [Model] makes a score of them: a sum of log ratios, each reported. [Thresholds] learn which scores benign logins have.
// [Published] is the published form, to compare with.
//
// Everything here is pure and bounded. Counters decay by whole days with a half-life of 60 days, in the events' own time.
// The same logins in the same order give the same bytes on every processor: products are kept from being fused, and
// logarithms are computed here, because the standard library's differ between processors in the last place.
package familiarity
