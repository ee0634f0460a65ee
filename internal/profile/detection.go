package profile

import "fmt"

// Detection is a detection's catalogue id as a number: the family in the high byte, its number in the low one; 0 is none.
type Detection uint16

// families are the families of the catalogue. Their places are on the log: append, never move.
var families = [...]string{
	1: "LOC", 2: "NET", 3: "DEV", 4: "CONJ", 5: "FAM", 6: "TIM", 7: "CRD", 8: "MFA", 9: "SES", 10: "OAU", 11: "AIT", 12: "WKL",
	13: "PRV", 14: "IDP", 15: "RSK",
}

// DetectionOf reads a catalogue id such as "LOC-01"; one of another form or family is 0.
func DetectionOf(id string) Detection {
	n := len(id) - 3
	if n < 1 || id[n] != '-' {
		return 0
	}
	tens, ones := id[n+1]-'0', id[n+2]-'0'
	if tens > 9 || ones > 9 {
		return 0
	}
	for i := 1; i < len(families); i++ {
		if families[i] == id[:n] {
			return Detection(i)<<8 | Detection(tens*10+ones)
		}
	}
	return 0
}

// String is the catalogue id, or "" for none.
func (d Detection) String() string {
	family, number := int(d>>8), int(d&0xff)
	if family == 0 || family >= len(families) || number > 99 {
		return ""
	}
	return fmt.Sprintf("%s-%02d", families[family], number)
}
