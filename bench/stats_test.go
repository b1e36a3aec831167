package main

import (
	"math"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-3*math.Abs(b) }

func TestMedian(t *testing.T) {
	if m := median([]float64{9, 1, 5}); m != 5 {
		t.Error(m)
	}
	if m := median([]float64{1, 2, 10, 4}); m != 3 {
		t.Error(m)
	}
	if m := median(nil); !math.IsNaN(m) {
		t.Error(m)
	}
}

func TestPercentile(t *testing.T) {
	var xs []int64
	for i := int64(1); i <= 200; i++ {
		xs = append(xs, i)
	}
	for p, want := range map[float64]float64{0.5: 100, 0.99: 198, 1: 200, 0: 1} {
		if got := percentile(xs, p); got != want {
			t.Errorf("p%v: got %v, want %v", p, got, want)
		}
	}
	if got := percentile([]int64{7}, 0.99); got != 7 {
		t.Error(got)
	}
}

func TestGeomean(t *testing.T) {
	if g := geomean([]float64{0.5, 2, 1}); !near(g, 1) {
		t.Error(g)
	}
}

// The values are those of a one-sample t-test on the logarithms.
func TestRatioInterval(t *testing.T) {
	got := ratioInterval([]float64{1.00, 1.02, 0.98, 1.01, 1.03})
	want := interval{1.00785, 0.98417, 1.03210}
	if !near(got.Mean, want.Mean) || !near(got.Low, want.Low) || !near(got.High, want.High) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	same := ratioInterval([]float64{1.1, 1.1, 1.1})
	if !near(same.Low, 1.1) || !near(same.High, 1.1) {
		t.Errorf("%+v", same)
	}
}

func TestStudent(t *testing.T) {
	for df, want := range map[int]float64{1: 12.706, 9: 2.262, 30: 2.042, 31: 2.040, 60: 2.000, 120: 1.980} {
		if got := student95(df); math.Abs(got-want) > 0.005 {
			t.Errorf("%d degrees of freedom: got %v, want %v", df, got, want)
		}
	}
}
