package rba

// Fit says what figures from the data set mean something. The report prints it beside them.
type Fit struct {
	// For and Not are what may and what must not be concluded; Notes are what was done to the rows; Cite is whom to name.
	For, Not, Notes []string
	Cite            string
	// Detections are the catalogue ids that may be measured.
	Detections []string
}

// Fitness is what the data set is fit for.
func Fitness() Fit {
	return Fit{
		For: []string{
			"familiarity score against the published figures",
			"novelty of country, network and user agent",
			"spraying over hours",
		},
		Not: []string{
			"travel: no coordinates, and cities were assigned at random",
			"windows of minutes: times were randomised",
			"sessions, tokens and second factors: there are none",
			"reputation of addresses: they were replaced",
		},
		Notes: []string{
			"address, network and country keep an artificial structure: figures stand apart from those of the generator",
			"coordinates, regions and cities are left out",
			"user -4324475583306591935 (14 million rows, 4 successes) is many users: left out, or kept as a name nobody has",
			"addresses of 10.0.0.0/8 and network numbers from 500000 are synthetic and marked",
			"times are taken as UTC; a login that failed is taken as one with a wrong password",
		},
		Cite: "Stephan Wiefling, Paul René Jørgensen, Sigurd Thunem, Luigi Lo Iacono: Pump Up Password Security! Evaluating and " +
			"Enhancing Risk-Based Authentication on a Real-World Large-Scale Online Service. ACM TOPS 2022, doi 10.1145/3546069. " +
			"Data: CC BY 4.0.",
		Detections: []string{"FAM-01", "LOC-04", "LOC-05", "LOC-06", "NET-01", "DEV-01", "CONJ-01", "CONJ-02", "TIM-02", "CRD-03", "CRD-05"},
	}
}
