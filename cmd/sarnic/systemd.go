package main

import (
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/sarnicdb/sarnic/config"
)

// What a service manager of the kind of systemd is told (sd_notify, Type=notify or notify-reload).
const (
	readyState    = "READY=1"
	stoppingState = "STOPPING=1"
)

// mainState says that this process is the service now: it may have been another's child or successor.
func mainState() string { return fmt.Sprintf("MAINPID=%d\n%s", os.Getpid(), readyState) }

func reloadingState() string {
	return fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonicMicroseconds())
}

// notifier returns what tells the service manager that NOTIFY_SOCKET names, if any. One that does not listen is not worth
// an error: nothing depends on it here.
func notifier(env config.LookupEnv) func(state string) {
	path, _ := env("NOTIFY_SOCKET")
	if path == "" {
		return func(string) {}
	}
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:]
	}
	return func(state string) {
		conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte(state))
		_ = conn.Close()
	}
}
