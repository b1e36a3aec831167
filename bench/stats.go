package main

import (
	"math"
	"slices"
)

// median of xs; NaN when there are none.
func median(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(xs))
	mid := len(s) / 2
	if len(s)%2 == 1 {
		return s[mid]
	}
	return (s[mid-1] + s[mid]) / 2
}

// medianOf is the median of one figure of each.
func medianOf[T any](all []T, figure func(T) float64) float64 {
	xs := make([]float64, len(all))
	for i, x := range all {
		xs[i] = figure(x)
	}
	return median(xs)
}

// percentile of a sorted slice by nearest rank: the smallest value that at least p of all do not exceed.
func percentile(sorted []int64, p float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := int(math.Ceil(p * float64(len(sorted))))
	return float64(sorted[max(rank, 1)-1])
}

func geomean(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	return math.Exp(mean(logs(xs)))
}

func mean(xs []float64) float64 {
	var sum float64
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}

func logs(xs []float64) []float64 {
	ls := make([]float64, len(xs))
	for i, x := range xs {
		ls[i] = math.Log(x)
	}
	return ls
}

// interval is a mean ratio with its 95 % confidence interval.
type interval struct {
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// ratioInterval takes one ratio per round. It works on logarithms, so that A/B and B/A say the same.
func ratioInterval(ratios []float64) interval {
	ls := logs(ratios)
	m := mean(ls)
	n := float64(len(ls))
	if n < 2 {
		return interval{math.Exp(m), math.NaN(), math.NaN()}
	}
	var sq float64
	for _, l := range ls {
		sq += (l - m) * (l - m)
	}
	half := student95(len(ls)-1) * math.Sqrt(sq/(n-1)/n)
	return interval{math.Exp(m), math.Exp(m - half), math.Exp(m + half)}
}

// student95 is the two-sided 95 % quantile of Student's t; beyond the table an approximation good to three digits.
func student95(df int) float64 {
	table := [...]float64{
		12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
		2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
		2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
	}
	if df <= len(table) {
		return table[df-1]
	}
	return 1.96 + 2.4/float64(df)
}
