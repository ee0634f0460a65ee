// Package familiarity scores how unlike its user a login is (FAM-01), after Freeman et al. (NDSS 2016) and Wiefling et al.
// (ACM TOPS 2022).
package familiarity
