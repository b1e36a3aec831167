package proxy

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sarnicdb/sarnic/pool/dial"
	"github.com/sarnicdb/sarnic/proxy/admin"
	"github.com/sarnicdb/sarnic/proxy/hba"
	"github.com/sarnicdb/sarnic/proxy/login"
)

// auth is how clients prove who they are under one configuration, and as whom the servers are logged in to for them. It
// is immutable; what outlives a reload is the Server's.
type auth struct {
	login   *login.Server
	secrets map[string]login.Secret // of the users that the configuration names
	roles   map[string]*roles       // of the servers, by the database's name; nil where they are not asked
	asks    bool                    // about users that the configuration does not name
	proofs  *proofs
}

// newAuth checks what cfg says of logins. What it has in common with the configuration before is taken from there.
func (srv *Server) newAuth(cfg *Config) (*auth, error) {
	a := &auth{secrets: make(map[string]login.Secret, len(cfg.Users)), asks: cfg.Query.SQL != "", proofs: &srv.proofs}
	for _, u := range cfg.Users {
		var secret login.Secret
		if u.Secret != "" {
			var err error
			if secret, err = login.ParseSecret(u.Name, u.Secret); err != nil {
				return nil, fmt.Errorf("proxy: user %s: %w", u.Name, err)
			}
		}
		a.secrets[u.Name] = secret
	}
	if a.asks || cfg.asksMembers() {
		a.roles = srv.rolesOf(cfg)
	}
	c := login.Config{
		TLS: cfg.TLS, TLSMode: cfg.TLSMode, Method: cfg.Auth, Rules: cfg.Rules, Maps: cfg.Maps, Timeout: cfg.LoginTime,
		Member: a.member, Failed: a.failed, Backoff: srv.backoff, Counters: &srv.counted, MockSeed: srv.mockSeed(), HoldOK: true,
	}
	if len(cfg.Users) > 0 || a.asks { // otherwise everybody is known, which only trust accepts
		c.Lookup = a.lookup
	}
	var err error
	if a.login, err = login.New(c); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return a, nil
}

// asksMembers reports whether a rule or a map depends on who belongs to a role.
func (cfg *Config) asksMembers() bool {
	return cfg.Maps.AsksMembers() || slices.ContainsFunc(cfg.Rules, func(r hba.Rule) bool { return r.AsksMembers() })
}

// rolesOf are the roles of the servers of all databases.
func (srv *Server) rolesOf(cfg *Config) map[string]*roles {
	var before map[string]*roles
	if sn := srv.snapshot(); sn != nil {
		before = sn.auth.roles
	}
	all := make(map[string]*roles, len(cfg.Databases))
	for i := range cfg.Databases {
		db := &cfg.Databases[i]
		source := roleSource{server: cfg.Query.server(db), sql: cfg.Query.SQL, cache: cfg.Query.Cache}
		if old := before[db.Name]; old != nil && old.source.equal(source) {
			all[db.Name] = old
		} else {
			all[db.Name] = newRoles(srv.ctx, source, srv.log)
		}
	}
	return all
}

// rolesFor are those of the server behind a database, nil where there is none or it is not asked. The console is no
// database of any server.
func (a *auth) rolesFor(database string) *roles {
	if r := a.roles[database]; r != nil {
		return r
	}
	if slices.Contains(admin.Databases(), database) {
		return nil
	}
	return a.roles["*"]
}

// lookup is the login.Lookup: the configuration's users go before the server's.
func (a *auth) lookup(ctx context.Context, user, database string) (login.Secret, bool, error) {
	if secret, ok := a.secrets[user]; ok || !a.asks {
		return secret, ok, nil
	}
	r := a.rolesFor(database)
	if r == nil {
		return login.Secret{}, false, nil
	}
	return r.find(ctx, user)
}

// member is the login.Member.
func (a *auth) member(ctx context.Context, user, database, role string) (bool, error) {
	r := a.rolesFor(database)
	if r == nil {
		return false, nil
	}
	return r.member(ctx, user, role)
}

// failed hears of a user who could not prove who it is.
func (a *auth) failed(user, database string) {
	if _, ok := a.secrets[user]; ok || !a.asks {
		return
	}
	if r := a.rolesFor(database); r != nil {
		r.doubt(user)
	}
}

// close ends the connections on which servers are asked.
func (a *auth) close() {
	for _, r := range a.roles {
		r.close()
	}
}

// server is where and as whom connections of the pool of key are made.
func (sn *snapshot) server(db *Database, key poolKey) dial.Config {
	server := db.Server
	database := server.Database()
	if db.Name == "*" {
		database = key.database
	}
	u := sn.users[key.user]
	switch {
	case sn.dialsItself(key.user):
		return sn.auth.asItself(server, database, key)
	case u != nil && u.ServerUser != "":
		return server.WithUser(u.ServerUser, database, u.ServerPassword)
	case db.Name == "*":
		return server.WithUser(server.User(), database, server.Password())
	}
	return server
}

// dialsItself reports whether the server is logged in to as the user with what its own logins have shown.
func (sn *snapshot) dialsItself(user string) bool {
	u := sn.users[user]
	if u == nil {
		return sn.auth.asks && !sn.cfg.Query.AsDSN
	}
	return u.ServerUser == user && u.ServerPassword == ""
}

// asItself is server for a user that has there the password it has here.
func (a *auth) asItself(server dial.Config, database string, key poolKey) dial.Config {
	if password, ok := a.secrets[key.user].Password(); ok {
		return server.WithUser(key.user, database, password)
	}
	return server.WithProof(key.user, database, a.proofs.of(key))
}

// learn keeps what a login has shown that may let us in at the server.
func (sn *snapshot) learn(client *login.Client) {
	if !sn.dialsItself(client.User) {
		return
	}
	proof := sn.auth.proofs.of(poolKey{client.Database, client.User})
	if password, ok := client.Secret.Password(); ok {
		proof.LearnPassword(password)
	}
	if digits, ok := client.Secret.MD5(); ok {
		proof.LearnMD5(digits)
	}
	if client.Key != nil && client.Secret.Verifier() != nil {
		proof.LearnKey(client.Key)
	}
}

// proofs are what logins have shown, for each pool. They outlive reloads, and the process is where they end.
type proofs struct {
	mu  sync.Mutex
	all map[poolKey]*dial.Proof
}

// of is the proof of key, made when first asked for: only for those who have logged in.
func (p *proofs) of(key poolKey) *dial.Proof {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = make(map[poolKey]*dial.Proof)
	}
	proof := p.all[key]
	if proof == nil {
		proof = new(dial.Proof)
		p.all[key] = proof
	}
	return proof
}

// drop forgets the proof of key with its pool.
func (p *proofs) drop(key poolKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, key)
}
