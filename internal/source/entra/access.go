package entra

import "github.com/countersign-io/countersign/internal/events"

// accessResult reads the result of all policies together.
func accessResult(text []byte) events.AccessResult {
	switch {
	case fold(text, "success"):
		return events.AccessGranted
	case fold(text, "failure"):
		return events.AccessDenied
	case fold(text, "notapplied"):
		return events.AccessNotApplied
	}
	return ""
}

// policies reads the policies that had a say. Records carry all there are, most of which did not apply or are switched
// off: dozens, and most of the record.
func (c *cursor) policies() []events.AccessPolicy {
	var out []events.AccessPolicy
	for a := c.array(); a.element(); {
		var id, name, result []byte
		grant, session := c.grant[:0], c.session[:0]
		for o := a.object(); o.member(); {
			switch string(o.key) {
			case "id":
				id = o.scalar()
			case "displayName":
				name = o.scalar()
			case "result":
				result = o.scalar()
			case "enforcedGrantControls":
				grant = o.gather(grant)
			case "enforcedSessionControls":
				session = o.gather(session)
			default:
				o.skip()
			}
		}
		c.grant, c.session = grant, session
		if silent(result) || len(out) >= maxElements {
			continue
		}
		p := events.AccessPolicy{ID: c.words.word(known(id)), Name: c.words.word(known(name)), Result: c.words.word(known(result))}
		for _, controls := range [...][]string{grant, session} {
			for _, control := range controls {
				if len(p.Controls) < maxElements {
					p.Controls = append(p.Controls, snake(control))
				}
			}
		}
		out = append(out, p)
	}
	return out
}

// silent are the results of policies that had no say.
func silent(result []byte) bool {
	return len(result) == 0 || fold(result, "notapplied") || fold(result, "notenabled") || fold(result, "reportonlynotapplied")
}

// locations reads the names of the networks that the address is in.
func (c *cursor) locations() []string {
	var out []string
	for a := c.array(); a.element(); {
		for o := a.object(); o.member(); {
			if string(o.key) != "networkNames" {
				o.skip()
				continue
			}
			for _, name := range o.list() {
				out = addOnce(out, name)
			}
		}
	}
	return out
}
