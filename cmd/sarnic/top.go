package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const topAbout = `Shows databases, pools, and clients, pins or statements of a running sarnic, anew every second. DSN is that of its console; the
user must be in admin.users or admin.stats_users. Rates and times are those since the last look, at first the console's averages.
Keys: q quits, s sorts by the longest wait, by use or by name, v shows clients, pins or statements, space looks at once.
Not on a terminal, or with --once, it prints one table and ends.`

const topExamples = `  sarnic top postgres://admin@127.0.0.1:6432/sarnic
  sarnic top --once --view clients postgres://admin@127.0.0.1:6432/sarnic
  sarnic top "host=/tmp port=6432 user=admin dbname=sarnic"
`

// topFlags is the command line of top.
type topFlags struct {
	once     bool
	interval time.Duration
	view     string
	order    string
}

func (p program) top(ctx context.Context, args []string) error {
	o := topFlags{interval: time.Second}
	f := newFlags("top", "DSN [flags]", topAbout, topExamples)
	f.BoolVar(&o.once, "once", false, "print one table and end")
	f.DurationVar(&o.interval, "interval", o.interval, "`TIME` from one look to the next")
	f.StringVar(&o.order, "sort", string(byWait), "what comes first, `ORDER`: "+listed(orders()))
	f.StringVar(&o.view, "view", "", "what to begin with, `VIEW`: "+listed(lowerViews())+"; with --once also pools (default) and databases")
	if err := f.parseMixed(args, 1, p.stdout); err != nil {
		return err
	}
	switch {
	case f.NArg() == 0:
		return &usageError{"top", "needs the DSN of a console"}
	case o.interval < 100*time.Millisecond:
		return &usageError{"top", "--interval must be at least 100ms"}
	case !slices.Contains(orders(), order(o.order)):
		return &usageError{"top", "--sort must be one of " + listed(orders())}
	case o.view != "" && !slices.Contains(allViews(), view(o.view)):
		return &usageError{"top", "--view must be one of " + listed(allViews())}
	}
	c, err := newConsoleClient(f.Arg(0))
	if err != nil {
		return err
	}
	defer c.close(ctx)
	out, ok := p.stdout.(*os.File)
	if o.once || !ok || !isScreen(out) || !isScreen(os.Stdin) {
		return p.topOnce(ctx, c, o)
	}
	return p.topLive(ctx, c, o, out)
}

// listed is all of them as a sentence has them.
func listed[T ~string](all []T) string {
	words := make([]string, len(all))
	for i, one := range all {
		words[i] = string(one)
	}
	return strings.Join(words, ", ")
}

// topOnce prints one table as wide as it is.
func (p program) topOnce(ctx context.Context, c *consoleClient, o topFlags) error {
	v := view(o.view)
	if v == "" {
		v = poolsView
	}
	now, err := c.look(ctx, v)
	if err != nil {
		return err
	}
	for _, line := range (period{now: now}).table(v, order(o.order)).lines(0, 0, paint{}) {
		if _, err := fmt.Fprintln(p.stdout, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// topLive shows the screen until a key or a signal ends it. A console that cannot be reached at first is an error; one that is
// lost later is tried again.
func (p program) topLive(ctx context.Context, c *consoleClient, o topFlags, out *os.File) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	s := &topScreen{address: c.address(), view: view(o.view), order: order(o.order)}
	if !slices.Contains(lowerViews(), s.view) {
		s.view = clientsView
	}
	_, plain := p.env("NO_COLOR")
	s.paint.on = !plain
	first, err := c.look(ctx, s.view)
	if err != nil {
		return err
	}
	s.take(first)
	t, err := openTerminal(os.Stdin, out)
	if err != nil {
		return err
	}
	defer func() {
		if closing := t.close(); err == nil {
			err = closing
		}
	}()
	l := &topLoop{screen: s, terminal: t, console: c, answers: make(chan answer, 1)}
	defer l.wait()
	defer stop() // ends a look that is under way, before it is waited for
	return l.run(ctx, o.interval)
}

// topLoop looks at the console, shows what it sees, and listens to the keys. The console is looked at on a goroutine of its
// own, one look at a time, so that keys act while it does not answer.
type topLoop struct {
	screen   *topScreen
	terminal *terminal
	console  *consoleClient
	answers  chan answer
	looking  bool
	again    bool // another look is wanted as soon as this one has ended
}

type answer struct {
	sample sample
	err    error
}

func (l *topLoop) run(ctx context.Context, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := l.draw(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			l.look(ctx)
		case <-l.terminal.resized:
		case a := <-l.answers:
			l.looking = false
			if l.screen.fault = ""; a.err != nil {
				l.screen.fault = a.err.Error()
			} else {
				l.screen.take(a.sample)
			}
			if l.again {
				l.look(ctx)
			}
		case key, ok := <-l.terminal.keys:
			done, look := l.screen.press(key)
			if done || !ok {
				return nil
			}
			if look {
				l.again = l.looking
				l.look(ctx)
			}
		}
	}
}

// look begins a look at the console unless one is under way.
func (l *topLoop) look(ctx context.Context) {
	if l.looking {
		return
	}
	l.looking, l.again = true, false
	v := l.screen.view
	go func() {
		s, err := l.console.look(ctx, v)
		l.answers <- answer{s, err}
	}()
}

// wait waits for the look that is under way.
func (l *topLoop) wait() {
	if l.looking {
		<-l.answers
	}
}

// draw writes the screen over what is there. Each line is cleared before it is written: a terminal whose last column was
// written to is still there, and would clear that.
func (l *topLoop) draw() error {
	width, height := l.terminal.size()
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range l.screen.lines(width, height) {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("\x1b[K" + line)
	}
	_, err := l.terminal.out.WriteString(b.String())
	return err
}
