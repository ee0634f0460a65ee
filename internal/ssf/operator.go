package ssf

// NewStream is the stream that an operator asks for in the place of a receiver that cannot: the body of a create
// (SSF 1.0 §8.1.1.1) with the client's id as receiver, and default_subjects where they shall not be the tenant's. The
// delivery must be there, and members that mean nothing must not. What a registry gives the stream has not yet. An error is
// an *InvalidError.
func (c Config) NewStream(body []byte, checkURL func(raw string) error) (Stream, error) {
	m, err := parseObject(body)
	if err != nil {
		return Stream{}, err
	}
	if err := m.only("receiver", "default_subjects", "delivery", "events_requested", "description", "aud", "format"); err != nil {
		return Stream{}, err
	}
	id, _, err := m.text("receiver")
	if err != nil {
		return Stream{}, err
	}
	r, known := c.Receiver(id)
	if !known {
		return Stream{}, invalid("receiver: is %.80q, must be one of ssf.clients", id)
	}
	subjects, there, err := m.text("default_subjects")
	switch {
	case err != nil:
		return Stream{}, err
	case !there:
		subjects = c.defaultSubjects(r.Tenant)
	case subjects != SubjectsAll && subjects != SubjectsNone:
		return Stream{}, invalid("default_subjects: is %.40q, must be %s or %s", subjects, SubjectsAll, SubjectsNone)
	case subjects == SubjectsNone && r.Interop:
		return Stream{}, invalid("default_subjects: is %s, must be %s for a client with interop", SubjectsNone, SubjectsAll)
	}
	if !m.has("delivery") {
		return Stream{}, invalid("delivery: is missing")
	}
	delivery, err := parseObject(m["delivery"])
	if err != nil {
		return Stream{}, invalid("delivery: is no object")
	}
	if err := delivery.only("method", "endpoint_url", "authorization_header"); err != nil {
		return Stream{}, invalid("delivery.%s", err.Error())
	}
	q, err := parseConfiguration(body, c.Limits)
	if err != nil {
		return Stream{}, err
	}
	if d := q.delivery; d.method != MethodPush && d.method != legacyPush && (d.url != "" || d.authorization != nil) {
		return Stream{}, invalid("delivery: has an address or a secret, which only a stream with push has")
	}
	return newStream(r, c.Issuer(r.Tenant), subjects, q, terms{checkURL: checkURL})
}

func (c Config) defaultSubjects(tenant string) string {
	for _, t := range c.Tenants {
		if t.Name == tenant {
			return t.defaultSubjects()
		}
	}
	return SubjectsAll
}
