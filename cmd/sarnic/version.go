package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version string

// build says which sarnic this is.
type build struct{ version, commit, goVersion string }

// readBuild takes the version from the linker, else from the module system, and the commit from the toolchain's stamp.
func readBuild() build {
	b := build{version: version, commit: "unknown", goVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		b.version = cmp.Or(b.version, "devel")
		return b
	}
	b.version = cmp.Or(b.version, info.Main.Version, "devel")
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			b.commit += " (modified)"
		}
	}
	return b
}

func (p program) version(_ context.Context, args []string) error {
	f := newFlags("version", "", "Prints the version, the commit it was built from, and the Go version.",
		"  sarnic version\n")
	if err := f.parse(args, 0, p.stdout); err != nil {
		return err
	}
	b := readBuild()
	_, err := fmt.Fprintf(p.stdout, "sarnic %s\ncommit %s\n%s %s/%s\n", b.version, b.commit, b.goVersion, runtime.GOOS, runtime.GOARCH)
	return err
}
