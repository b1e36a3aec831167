package main

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

// The kinds of remarks, most urgent first, beside the fates of options.
const (
	todo    = "to do"   // something must be given before the file works
	differs = "differs" // it works, but not in the same way
)

// remark is one thing that an operator should know of the migration.
type remark struct {
	at     iniLine // the zero line: of the file as a whole
	option string
	kind   string
	why    string
}

// remarkf adds a remark on a line.
func (m *migration) remarkf(l iniLine, option, kind, format string, args ...any) {
	r := remark{l, option, kind, fmt.Sprintf(format, args...)}
	if !slices.Contains(m.remarks, r) {
		m.remarks = append(m.remarks, r)
	}
}

// urgency is the order of the kinds.
func urgency(kind string) int {
	return slices.Index([]string{todo, string(missing), differs, string(elsewhere), string(needless)}, kind)
}

// report prints the remarks as a table.
func (m *migration) report(w io.Writer) error {
	slices.SortStableFunc(m.remarks, func(a, b remark) int {
		return cmp.Or(urgency(a.kind)-urgency(b.kind), cmp.Compare(a.at.file, b.at.file), a.at.line-b.at.line)
	})
	if len(m.remarks) == 0 {
		_, err := fmt.Fprintf(w, "%s: nothing differs\n", m.ini.path)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "WHERE\tPGBOUNCER\tHERE\tWHY\n")
	for _, r := range m.remarks {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", harmless(m.place(r.at)), harmless(r.option), r.kind, harmless(r.why))
	}
	return t.Flush()
}

// place is the line as a reader of the table finds it.
func (m *migration) place(l iniLine) string {
	switch l.file {
	case "":
		return filepath.Base(m.ini.path)
	case m.ini.path:
		return fmt.Sprintf("%s:%d", filepath.Base(l.file), l.line)
	}
	return fmt.Sprintf("%s:%d", l.file, l.line)
}
