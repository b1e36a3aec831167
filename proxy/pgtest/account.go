package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// account is the OS user a server runs as: ourselves, or another one where we are root.
type account struct {
	uid, gid int
	switched bool // we are root, so commands change to this user and files are given to it
}

// serverAccount picks the user: PostgreSQL's own where it exists, else nobody.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(found.Uid)
		gid, gidErr := strconv.Atoi(found.Gid)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return account{}, fmt.Errorf("OS user %s: %w", name, err)
		}
		return account{uid: uid, gid: gid, switched: true}, nil
	}
	return account{}, errors.New("PostgreSQL refuses to run as root, and there is no OS user postgres or nobody to run it as")
}

// command prepares a program of the server to run in dir as the account.
func (a account) command(dir, program string, args ...string) *exec.Cmd {
	cmd := &exec.Cmd{Path: program, Args: append([]string{program}, args...), Dir: dir, Env: serverEnv(os.Environ())}
	if a.switched {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}}
	}
	return cmd
}

// give hands a path over to the account; nothing to do where it is ours already.
func (a account) give(path string) error {
	if !a.switched {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// serverEnv drops what would change a server behind our back: libpq's variables and the locale of messages we read.
func serverEnv(env []string) []string {
	kept := make([]string, 0, len(env)+1)
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "LC_") || name == "LANG" || name == "LANGUAGE" {
			continue
		}
		kept = append(kept, entry)
	}
	return append(kept, "LC_ALL=C")
}
