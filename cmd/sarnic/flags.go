package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/sarnicdb/sarnic/config"
)

// flags are one command's, with the help that --help prints.
type flags struct {
	*flag.FlagSet
	usage    string // "sarnic serve [flags]"
	about    string
	examples string
}

func newFlags(command, arguments, about, examples string) *flags {
	f := &flags{
		FlagSet: flag.NewFlagSet(command, flag.ContinueOnError),
		usage:   strings.TrimSpace("sarnic " + command + " " + arguments), about: about, examples: examples,
	}
	f.SetOutput(io.Discard) // the package prints single dashes, and errors that run reports anyway
	return f
}

// parse reads args. Asked for help it prints it and returns flag.ErrHelp; most is the number of arguments that may follow
// the flags.
func (f *flags) parse(args []string, most int, stdout io.Writer) error {
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		f.print(stdout)
		return err
	case err != nil:
		text := strings.Replace(err.Error(), ": -", ": --", 1)
		return &usageError{f.Name(), strings.Replace(text, "flag -", "flag --", 1)}
	case f.NArg() > most:
		return &usageError{f.Name(), fmt.Sprintf("unexpected argument %q", f.Arg(most))}
	}
	return nil
}

func (f *flags) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n\nUsage: %s\n", f.about, f.usage)
	first := true
	f.VisitAll(func(one *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nFlags:\n")
		}
		first = false
		value, text := flag.UnquoteUsage(one)
		if one.DefValue != "" {
			text += " (default " + one.DefValue + ")"
		}
		fmt.Fprintf(w, "  --%-28s %s\n", strings.TrimSpace(one.Name+" "+value), text)
	})
	fmt.Fprintf(w, "\nExamples:\n%s", f.examples)
}

// given reports whether the command line sets the flag, and fromEnvironment fills those that it does not.
func (f *flags) given(name string) bool {
	found := false
	f.Visit(func(one *flag.Flag) { found = found || one.Name == name })
	return found
}

// variable is the environment variable that stands for a flag: SARNIC_POOL_SIZE for --pool-size.
func variable(name string) string {
	return "SARNIC_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// fromEnvironment sets the named flags that the command line does not, from their variables.
func (f *flags) fromEnvironment(env config.LookupEnv, names ...string) error {
	for _, name := range names {
		value, found := env(variable(name))
		if !found || value == "" || f.given(name) {
			continue
		}
		if err := f.Set(name, value); err != nil {
			return &usageError{f.Name(), fmt.Sprintf("invalid value %q of %s: %v", value, variable(name), err)}
		}
	}
	return nil
}

// words is a flag that may be given several times, or once with commas.
type words []string

func (w *words) String() string { return strings.Join(*w, ",") }

func (w *words) Set(text string) error {
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			*w = append(*w, word)
		}
	}
	return nil
}
