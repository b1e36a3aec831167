package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// screen prints for people: aligned, and in colour on a terminal only.
type screen struct {
	mu     sync.Mutex // lines come from several goroutines
	w      io.Writer
	colour bool
}

// newScreen looks whether w is a terminal that can show colours and whose user wants them (no-color.org).
func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	file, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return s
	}
	info, err := file.Stat()
	s.colour = err == nil && info.Mode()&os.ModeCharDevice != 0
	return s
}

// The colours of the first ANSI palette, which every theme keeps readable.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (s *screen) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprint(s.w, text)
}

func (s *screen) heading(text string) { s.print("\n" + s.paint(bold, text) + "\n") }

// labelWidth fits the longest label, "PostgreSQL".
const labelWidth = 12

// line prints "  label       text".
func (s *screen) line(label, format string, args ...any) {
	s.print("  " + s.paint(faint, pad(label, labelWidth)) + fmt.Sprintf(format, args...) + "\n")
}

// note prints a remark under the last line.
func (s *screen) note(text string) {
	s.print(strings.Repeat(" ", 2+labelWidth) + s.paint(yellow, text) + "\n")
}

func (s *screen) failure(err error) { s.print(s.paint(red, "error: ") + err.Error() + "\n") }

// pad fills text with spaces; fmt would count bytes.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-len([]rune(text))))
}
