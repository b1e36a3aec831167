package admin

import "time"

// Part is a set of the parts of a State: what nobody asks for need not be collected.
type Part uint8

// The parts.
const (
	Counts      Part = 1 << iota // Databases, Pools, Users, LoginClients
	Sockets                      // Clients, Servers, Pins
	Totals                       // Stats
	Texts                        // Statements
	Settings                     // Config
	MemoryUse                    // Memory
	PauseStates                  // Paused, Suspended
)

// State is a snapshot of everything the console shows.
type State struct {
	Databases    []Pooled // one for each database
	Pools        []Pool
	Users        []User
	LoginClients int
	Clients      []Socket
	Servers      []Socket
	Pins         []Pin
	Stats        []Stats
	Statements   []Statement
	Config       []Setting
	Memory       []Memory
	Paused       bool
	Suspended    bool
}

// Pooled is a database and what its pools may hold.
type Pooled struct {
	Name, Host     string
	Port           int
	Database       string // on the server
	ForceUser      string // who connects to the server, whoever the client is; "": the client's user
	PoolSize       int
	MinPoolSize    int
	Reserve        int
	Lifetime       time.Duration
	Mode           string // "" where it has none of its own
	MaxConnections int
	Connections    int
	MaxClients     int
	Clients        int
	Paused         bool
	Disabled       bool
}

// Pool is one (database, user) pair.
type Pool struct {
	Database, User                    string
	Active, Waiting                   int // clients
	CancelsActive, CancelsWaiting     int // cancel requests of clients
	ServersActive, ServersIdle        int
	ServersCanceling, ServersCanceled int // asking to cancel; waiting for such requests to end
	ServersTested, ServersLogin       int
	MaxWait                           time.Duration
	Mode                              string
}

// User is one that may log in, or has.
type User struct {
	Name           string
	MaxConnections int
	Connections    int
	MaxClients     int
	Clients        int
}

// Socket is a connection of a client, or to a server.
type Socket struct {
	Server         bool
	User, Database string
	State          string // active, idle, waiting, tested, new
	Addr           string
	Port           int
	LocalAddr      string
	LocalPort      int
	ConnectTime    time.Time
	RequestTime    time.Time
	Wait           time.Duration
	CloseNeeded    bool
	Link           uint64 // the ID of the connection at the other side; 0: none
	RemotePID      uint32
	TLS            string
	Application    string
	Statements     int // prepared
	ID             uint64
	Unparsed       int // bytes read and not dealt with yet
	Remaining      int // bytes of a frame whose rest is passed on as it comes
	Unsent         int // bytes written and not taken yet
}

// Pin is a client that keeps its server connection between transactions.
type Pin struct {
	Database, User       string
	ClientPID, ServerPID uint32
	Reason               string
	Since                time.Time
	Application          string
}

// Stats are a database's numbers: since the start, and in the last period.
type Stats struct {
	Database string
	Total    Numbers
	Period   Numbers
	Length   time.Duration // of the period
}

// Numbers are what is counted. Times are in microseconds.
type Numbers struct {
	Assignments, Transactions, Queries int64
	Received, Sent                     int64
	TransactionTime, QueryTime         int64
	WaitTime                           int64
	ClientParses, ServerParses, Binds  int64
	Logins                             int64
}

// Statement is a prepared statement that clients of a pool have.
type Statement struct {
	Name           string // on server connections
	Database, User string
	Uses           int64
	Servers        int // connections of the pool that have it
	Query          string
}

// Setting is one key of the configuration.
type Setting struct {
	Key, Value, Default string
	Changeable          bool // by a reload
}

// Memory is one kind of what takes memory.
type Memory struct {
	Name             string
	Size, Used, Free int // of one, and how many
}
