package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table is text in aligned columns: words to the left, figures to the right.
type table struct {
	head []string
	rows [][]string
}

func newTable(head ...string) *table { return &table{head: head} }

// row may have fewer columns than the head.
func (t *table) row(cols ...string) { t.rows = append(t.rows, cols) }

func (t *table) print(out io.Writer) {
	width := make([]int, len(t.head))
	left := make([]bool, len(t.head))
	for i, h := range t.head {
		width[i] = utf8.RuneCountInString(h)
		for _, r := range t.rows {
			if i < len(r) {
				width[i] = max(width[i], utf8.RuneCountInString(r[i]))
				left[i] = left[i] || strings.ContainsAny(r[i], "abcdefghijklmnopqrstuvwxyz")
			}
		}
	}
	for _, r := range append([][]string{t.head}, t.rows...) {
		var line strings.Builder
		for i, cell := range r {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if left[i] {
				line.WriteString(cell + pad + "  ")
			} else {
				line.WriteString(pad + cell + "  ")
			}
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
}
