package config

import (
	"encoding"
	"math"
	"reflect"
	"strconv"
	"time"
)

// decodeText gives the text to a type that knows how to read itself. Its error says what the value must be.
func (d *Document) decodeText(n *node, key string, v encoding.TextUnmarshaler) {
	if !d.isValue(n, key) {
		return
	}
	if err := v.UnmarshalText([]byte(n.text)); err != nil {
		d.addAt(n.place, key, err.Error()+", got "+n.what())
	}
}

func (d *Document) decodeScalar(n *node, key string, v reflect.Value) {
	if !d.isValue(n, key) {
		return
	}
	want := ""
	switch {
	case v.Kind() == reflect.String:
		v.SetString(n.text)
	case n.quoted && !n.expanded: // "20" is a string; "${POOL_SIZE}" is what the variable holds
		want = wanted(v) + " without quotes"
	case !setScalar(v, n.text):
		want = wanted(v)
	}
	if want != "" {
		d.addAt(n.place, key, "must be "+want+", got "+n.what())
	}
}

// isValue reports whether n is one value, and complains if not.
func (d *Document) isValue(n *node, key string) bool {
	switch {
	case n.kind != scalar:
		d.addAt(n.place, key, "must be a single value, got "+n.what())
	case n.null:
		d.addAt(n.place, key, "has no value")
	default:
		return !n.broken
	}
	return false
}

// setScalar reads text as v's type; false means that it is none, and v stays as it was.
func setScalar(v reflect.Value, text string) bool {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		t, err := time.ParseDuration(text) // knows a bare 0, our word for "off"
		return setIf(err == nil, v.SetInt, int64(t))
	}
	switch v.Kind() {
	case reflect.Bool:
		return setIf(text == "true" || text == "false", v.SetBool, text == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, v.Type().Bits())
		return setIf(err == nil, v.SetInt, i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		u, err := strconv.ParseUint(text, 10, v.Type().Bits())
		return setIf(err == nil, v.SetUint, u)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		finite := !math.IsInf(f, 0) && !math.IsNaN(f)
		return setIf(err == nil && finite, v.SetFloat, f)
	default:
		panic("config: no value of a file can be a " + v.Type().String())
	}
}

func setIf[T any](ok bool, set func(T), value T) bool {
	if ok {
		set(value)
	}
	return ok
}

// wanted names the type of v for "must be …".
func wanted(v reflect.Value) string {
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		return "a duration such as 30s, 5m or 0"
	case v.Kind() == reflect.Bool:
		return "true or false"
	case v.CanFloat():
		return "a number"
	case v.CanUint():
		return "a whole number, not negative"
	default:
		return "a whole number"
	}
}
