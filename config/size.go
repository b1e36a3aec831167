package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as PostgreSQL writes memory sizes: 64MB, 512kB, 1GB, a bare 0. Each unit is 1024 of
// the one before.
type Size int64

// UnmarshalText reads 64MB.
func (s *Size) UnmarshalText(text []byte) error {
	digits := strings.TrimRight(string(text), "BkKMGT")
	number, err := strconv.ParseInt(digits, 10, 64)
	unit := int64(0)
	switch string(text[len(digits):]) {
	case "B":
		unit = 1
	case "kB", "KB":
		unit = 1 << 10
	case "MB":
		unit = 1 << 20
	case "GB":
		unit = 1 << 30
	case "TB":
		unit = 1 << 40
	}
	isZero := string(text) == "0" // the only size without a unit
	if err != nil || number < 0 || unit == 0 && !isZero || unit > 0 && number > math.MaxInt64/unit {
		return errors.New("must be a size such as 512kB, 64MB or 0")
	}
	*s = Size(number * unit)
	return nil
}

// String writes the size with the largest unit that leaves it whole.
func (s Size) String() string {
	units := []string{"TB", "GB", "MB", "kB"}
	for i, unit := range units {
		if bytes := int64(1) << (10 * (len(units) - i)); s != 0 && int64(s)%bytes == 0 {
			return strconv.FormatInt(int64(s)/bytes, 10) + unit
		}
	}
	if s == 0 {
		return "0"
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}
