package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sarnicdb/sarnic/config"
	"github.com/sarnicdb/sarnic/proxy/wire"
)

// set changes one setting until the configuration is next read, as a reload of a file with that value would.
func (r *reloader) set(ctx context.Context, key, value string) error {
	return r.do(ctx, func() error {
		s, err := r.settings().with(key, value)
		if err == nil {
			err = r.take(s)
		}
		if err != nil {
			return notSet(err)
		}
		r.log.Info("a setting was changed on the console until the next reload", "key", key)
		r.now.Store(&s)
		return nil
	})
}

// notSet is what the console tells of a value that cannot be.
func notSet(err error) error {
	var told *wire.Error
	var mistakes config.Errors
	switch {
	case errors.As(err, &told):
		return told
	case !errors.As(err, &mistakes):
		return err
	}
	var all []string
	for _, m := range mistakes {
		all = append(all, m.Key+": "+m.Text)
	}
	return &wire.Error{Code: codeInvalidValue, Message: strings.Join(all, "; ")}
}

// PostgreSQL's names for a value and for a parameter that cannot be set.
const (
	codeInvalidValue    = "22023"
	codeUndefinedObject = "42704"
)

// with is s with another value of one key, judged as a whole. What was read from files is read again.
func (s *settings) with(key, value string) (settings, error) {
	own, value, err := s.settable(key, value)
	if err != nil {
		return settings{}, err
	}
	doc, err := config.Parse("SET", fragment(own), func(string) (string, bool) { return value, true })
	if err != nil {
		return settings{}, err
	}
	f := *s.source
	doc.Decode(&f)
	next := f.compose(s.folder, doc.Add)
	next.files, next.again = s.files, s.again
	next.blame = func(key, text string) error {
		doc.Add(key, text)
		return doc.Err()
	}
	return next, next.err(doc.Err())
}

// settable finds the key of the file that is meant, and the value as the file has it.
func (s *settings) settable(key, value string) (own, text string, err error) {
	for _, a := range aliases() {
		if a.name != key || a.key == "" {
			continue
		}
		if a.times {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return "", "", &wire.Error{Code: codeInvalidValue, Message: fmt.Sprintf("%s: must be a number of seconds, got %q", key, value)}
			}
			value = strconv.FormatFloat(seconds, 'f', -1, 64) + "s"
		}
		return a.key, value, nil
	}
	for _, one := range s.source.plain() {
		if one.key == key {
			return key, value, nil
		}
	}
	return "", "", &wire.Error{
		Code: codeUndefinedObject, Message: fmt.Sprintf("unrecognized configuration parameter %q", key),
		Hint: "SHOW CONFIG lists those that can be set; databases and users are changed in the file.",
	}
}

// fragment is a configuration file of one key. Its value comes from outside of the text, so that it cannot be more than that.
func fragment(key string) []byte {
	names := strings.Split(key, ".")
	return []byte(strings.Join(names, ": {") + `: "${VALUE}"` + strings.Repeat("}", len(names)-1) + "\n")
}
