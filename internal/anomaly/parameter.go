package anomaly

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// A parameter is a field of [Config] with these tags:
//
//	yaml   its name
//	range  the least and the greatest value, "50..20038"; for durations "1m..24h", with days as "30d"
//	unit   the unit of a number, such as "km"; durations have none, and count in hours in a finding
//	of     the detections that it belongs to, with spaces between

// Parameter is one parameter of the catalogue, for messages and for the documentation.
type Parameter struct {
	// Path is where it is in the configuration, such as "travel.min_km".
	Path string
	// Unit is that of Value, Low and High: "h" for durations, "" for counts and shares.
	Unit             string
	Value, Low, High float64
	// Of are the detections it belongs to.
	Of []string

	duration bool
}

// Text writes a value of the parameter as people write it in the configuration.
func (p *Parameter) Text(v float64) string {
	if !p.duration {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	switch d := time.Duration(v * float64(time.Hour)); {
	case d == 0:
		return "0s"
	case d%(24*time.Hour) == 0:
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	default:
		text := d.String() // 1h0m0s
		for _, zero := range []string{"m0s", "h0m"} {
			if strings.HasSuffix(text, zero) {
				text = text[:len(text)-2]
			}
		}
		return text
	}
}

// Parameters lists every numeric parameter with its present value and range, in the order of the configuration.
func (c *Config) Parameters() []Parameter {
	var out []Parameter
	parameters(reflect.ValueOf(c).Elem(), "", &out)
	return out
}

func parameters(v reflect.Value, path string, out *[]Parameter) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := strings.TrimPrefix(path+"."+f.Tag.Get("yaml"), ".")
		if f.Type.Kind() == reflect.Struct {
			parameters(v.Field(i), name, out)
			continue
		}
		limits, ok := f.Tag.Lookup("range")
		if !ok {
			continue
		}
		p := Parameter{Path: name, Unit: f.Tag.Get("unit"), Of: strings.Fields(f.Tag.Get("of"))}
		low, high, _ := strings.Cut(limits, "..")
		switch x := v.Field(i).Interface().(type) {
		case time.Duration:
			p.Unit, p.duration = "h", true
			p.Value, p.Low, p.High = x.Hours(), hoursOf(low), hoursOf(high)
		case float64:
			p.Value, p.Low, p.High = x, number(low), number(high)
		case int:
			p.Value, p.Low, p.High = float64(x), number(low), number(high)
		case uint32:
			p.Value, p.Low, p.High = float64(x), number(low), number(high)
		default:
			panic(fmt.Sprintf("anomaly: parameter %s is a %T", name, x))
		}
		*out = append(*out, p)
	}
}

// number and hoursOf read limits from tags; a test reads them all.
func number(text string) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic("anomaly: " + err.Error())
	}
	return v
}

func hoursOf(text string) float64 {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		return number(days) * 24
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		panic("anomaly: " + err.Error())
	}
	return d.Hours()
}

// inForce are the parameters of one detection as its findings carry them.
func inForce(all []Parameter, id string) []events.Parameter {
	var out []events.Parameter
	for i := range all {
		for _, of := range all[i].Of {
			if of == id {
				out = append(out, events.Parameter{
					Name: all[i].Path[strings.LastIndexByte(all[i].Path, '.')+1:], Value: all[i].Value, Unit: all[i].Unit,
				})
			}
		}
	}
	return out
}
