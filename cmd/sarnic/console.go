package main

import (
	"cmp"
	"encoding"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/sarnicdb/sarnic/config"
	"github.com/sarnicdb/sarnic/proxy"
	"github.com/sarnicdb/sarnic/proxy/admin"
)

// hooks are what the console needs of the process.
func (v *service) hooks(b build) proxy.Hooks {
	return proxy.Hooks{
		Version: b.version,
		Reload:  v.reloads.ask,
		Shutdown: func(wait admin.ShutdownWait) {
			v.log.Info("the console asks for the end", "wait", string(wait))
			select {
			case v.shutdowns <- wait:
			default: // one is on its way
			}
		},
		Settings: func() []admin.Setting { return v.reloads.settings().shown },
		Set:      v.reloads.set,
	}
}

// show lists the settings of f for SHOW CONFIG: first the keys of the file that hold no secret, with what they are when nobody
// says anything, then what PgBouncer calls some of them, for those who look for these.
func (f *file) show() []admin.Setting {
	standard := defaults()
	var all []admin.Setting
	add := func(now, before []shownSetting) {
		for i, s := range now {
			all = append(all, admin.Setting{Key: s.key, Value: s.value, Default: before[i].value, Changeable: !fixed(s.key)})
		}
	}
	add(f.plain(), standard.plain())
	add(f.asPgBouncer(), standard.asPgBouncer())
	return all
}

// fixed are the keys that only a restart changes.
func fixed(key string) bool { return key == "http" || key == "limits.loops" || key == "restart.socket" }

// shownSetting is a key and its value as text.
type shownSetting struct{ key, value string }

// plain are the keys of the file but for those of databases and users.
func (f *file) plain() []shownSetting {
	w := &walk{keys: config.Keys(*f)}
	w.visit(reflect.ValueOf(*f))
	return w.found
}

// walk goes over the values of a file in the order of config.Keys.
type walk struct {
	keys  []string
	found []shownSetting
}

func (w *walk) visit(v reflect.Value) {
	for len(w.keys) > 0 && strings.Contains(w.keys[0], "*") { // of databases and users, whose maps are not gone into
		w.keys = w.keys[1:]
	}
	if len(w.keys) == 0 || v.Kind() == reflect.Map {
		return
	}
	if _, text := reflect.New(v.Type()).Interface().(encoding.TextUnmarshaler); v.Kind() == reflect.Struct && !text {
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Tag.Get("key") != "-" {
				w.visit(v.Field(i))
			}
		}
		return
	}
	w.found = append(w.found, shownSetting{w.keys[0], shown(w.keys[0], v.Interface())})
	w.keys = w.keys[1:]
}

// shown is a value as the file has it, unless it may hold a secret.
func shown(key string, value any) string {
	text := ""
	switch v := value.(type) {
	case time.Duration:
		text = cmp.Or(duration(v), "0")
	case permissions:
		text = fmt.Sprintf("%04o", uint32(v))
	case []string:
		text = strings.Join(v, ", ")
	default:
		switch kind := reflect.ValueOf(value).Kind(); kind {
		case reflect.Slice, reflect.Struct, reflect.Pointer:
			if kind == reflect.Slice && reflect.ValueOf(value).Len() == 0 {
				return ""
			}
			return "(see the file)"
		}
		text = fmt.Sprint(value)
	}
	for _, word := range []string{"password", "secret", "dsn", "upstream"} {
		if text != "" && (strings.Contains(key, word) || strings.Contains(text, "://") || strings.Contains(text, "password=")) {
			return "(hidden)"
		}
	}
	return text
}

// alias is a setting under the name that PgBouncer has for it.
type alias struct {
	name  string
	key   string // ours; "" where there is none
	times bool   // in seconds there
	value func(*file) any
}

// aliases are those that PgBouncer's tools read, and its users know.
func aliases() []alias {
	return []alias{
		{name: "listen_addr", value: func(f *file) any { address, _ := f.firstAddress(); return address }},
		{name: "listen_port", value: func(f *file) any { _, port := f.firstAddress(); return port }},
		{name: "pool_mode", value: func(f *file) any { return f.Pool.Mode }},
		{"max_client_conn", "limits.max_clients", false, func(f *file) any { return f.Limits.MaxClients }},
		{"default_pool_size", "pool.size", false, func(f *file) any { return f.Pool.Size }},
		{"min_pool_size", "pool.min_size", false, func(f *file) any { return f.Pool.MinSize }},
		{"reserve_pool_size", "pool.reserve", false, func(f *file) any { return f.Pool.Reserve }},
		{"reserve_pool_timeout", "pool.reserve_after", true, func(f *file) any { return f.Pool.ReserveAfter }},
		{name: "max_db_connections", value: func(*file) any { return 0 }},
		{name: "max_user_connections", value: func(*file) any { return 0 }},
		{"server_lifetime", "pool.lifetime", true, func(f *file) any { return f.Pool.Lifetime }},
		{"server_idle_timeout", "pool.idle_timeout", true, func(f *file) any { return f.Pool.IdleTimeout }},
		{"server_connect_timeout", "pool.connect_timeout", true, func(f *file) any { return f.Pool.ConnectTimeout }},
		{"query_wait_timeout", "pool.wait_timeout", true, func(f *file) any { return f.Pool.WaitTimeout }},
		{"query_wait_notify", "pool.wait_notice", true, func(f *file) any { return f.Pool.WaitNotice }},
		{"client_login_timeout", "auth.login_timeout", true, func(f *file) any { return f.Auth.LoginTimeout }},
		{"max_prepared_statements", "pool.statements", false, func(f *file) any { return f.Pool.Statements }},
		{name: "auth_type", value: func(f *file) any { return f.Auth.Method }},
		{name: "client_tls_sslmode", value: func(f *file) any { return f.TLS.Mode }},
	}
}

func (f *file) firstAddress() (host, port string) {
	if len(f.Listen) > 0 {
		host, port, _ = net.SplitHostPort(f.Listen[0])
	}
	return host, port
}

// asPgBouncer are the aliases and their values.
func (f *file) asPgBouncer() []shownSetting {
	var all []shownSetting
	for _, a := range aliases() {
		text := fmt.Sprint(a.value(f))
		if d, ok := a.value(f).(time.Duration); ok {
			text = strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
		}
		all = append(all, shownSetting{a.name, text})
	}
	return all
}
