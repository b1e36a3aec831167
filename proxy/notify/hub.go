package notify

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sarnicdb/sarnic/pool/dial"
)

// Options are a Hub's bounds. A zero means the default.
type Options struct {
	Encoding       string        // client_encoding of the connection: that of the clients; UTF8
	MaxChannels    int           // of one listener; 10,000
	MaxHubChannels int           // of all together; 100,000
	MaxQueued      int           // notifications waiting for one listener; 65,536
	MaxQueuedBytes int           // and their size; 16 MiB
	MaxHubBytes    int64         // size of all that waits for all listeners; 256 MiB
	Connect        time.Duration // dialling takes at most so long; 15 s
	Answer         time.Duration // a connection that owes an answer and says nothing for so long is dead; 15 s
	Probe          time.Duration // one that was silent for so long is asked for a sign of life; 30 s
	Rest           time.Duration // one without channels is closed after so long; 30 s
	Pause          time.Duration // before the first new attempt to connect, then twice as long each time; 100 ms
	MaxPause       time.Duration // the longest pause; 5 s
}

func (o Options) withDefaults() Options {
	orElse(&o.Encoding, "UTF8")
	orElse(&o.MaxChannels, 10_000)
	orElse(&o.MaxHubChannels, 100_000)
	orElse(&o.MaxQueued, 1<<16)
	orElse(&o.MaxQueuedBytes, 16<<20)
	orElse(&o.MaxHubBytes, 256<<20)
	orElse(&o.Connect, 15*time.Second)
	orElse(&o.Answer, 15*time.Second)
	orElse(&o.Probe, 30*time.Second)
	orElse(&o.Rest, 30*time.Second)
	orElse(&o.Pause, 100*time.Millisecond)
	orElse(&o.MaxPause, 5*time.Second)
	return o
}

func orElse[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// Dial makes the connection: a Config's, without Wrap.
type Dial func(context.Context) (*dial.Server, error)

// Hub listens on one connection for many listeners. It may be used by any goroutine.
type Hub struct {
	ctx    context.Context // ends the goroutines
	stop   context.CancelFunc
	dial   Dial
	log    *slog.Logger
	o      Options
	goes   sync.WaitGroup
	work   chan struct{} // holds a token: the writer should look
	queued atomic.Int64  // bytes in all queues

	mu        sync.Mutex // guards what follows
	closed    bool
	running   bool  // a goroutine has the connection's life in hand
	link      *link // nil: not connected
	channels  map[string]*channel
	listeners map[*Listener]struct{}
	asking    []*request    // Listens that are not sent to the end yet
	syncs     []func(error) // for the next round
	dropping  []*channel    // for UNLISTEN
	round     *round        // under way
	unwanted  time.Time     // since when there is no channel
	pause     time.Duration // before the next attempt to connect
	retry     time.Time     // not before
	stats     Stats
}

// Stats is what a Hub has and has done.
type Stats struct {
	Connected   bool
	PID         uint32 // of the server process that listens; 0: not connected, or not known
	Channels    int
	Listeners   int
	QueuedBytes int64
	Received    uint64 // notifications that came from the server
	Delivered   uint64 // notifications put into queues
	Overflows   uint64 // listeners ended because they, or all, had too much in their queues
	Connects    uint64
	Failures    uint64 // attempts to connect that failed
	Losses      uint64 // connections lost
	Rounds      uint64 // round trips
	Syncs       uint64 // that they answered
	Listens     uint64 // LISTENs sent
	Unlistens   uint64 // UNLISTENs sent
}

// New makes a Hub. Nothing is dialled before somebody listens. The end of ctx ends it, as Close does.
func New(ctx context.Context, dial Dial, log *slog.Logger, o Options) *Hub {
	ctx, stop := context.WithCancel(ctx)
	return &Hub{
		ctx: ctx, stop: stop, dial: dial, log: log, o: o.withDefaults(), work: make(chan struct{}, 1),
		channels: make(map[string]*channel), listeners: make(map[*Listener]struct{}),
	}
}

// Close ends the connection and tells every listener, and returns when all goroutines have ended. It must not be called
// by a callback.
func (h *Hub) Close() {
	h.shut()
	h.goes.Wait()
}

// shut is Close without waiting. Calling it again does nothing.
func (h *Hub) shut() {
	var out calls
	h.mu.Lock()
	h.closed = true
	for l := range h.listeners {
		h.end(l, ErrClosed, &out)
	}
	h.dropSyncs(ErrClosed, &out)
	h.mu.Unlock()
	h.stop()
	out.make()
}

// Stats is the state of this moment.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.stats
	s.Channels, s.Listeners, s.QueuedBytes = len(h.channels), len(h.listeners), h.queued.Load()
	if h.link != nil {
		s.Connected, s.PID = true, h.link.pid
	}
	return s
}

// calls are callbacks to make once mu is free. Wakes come first: whoever is done finds its queue announced.
type calls struct {
	wakes []func()
	dones []answer
}

type answer struct {
	done func(error)
	err  error
}

func (c *calls) wake(f func()) { c.wakes = append(c.wakes, f) }

func (c *calls) done(f func(error), err error) {
	if f != nil {
		c.dones = append(c.dones, answer{f, err})
	}
}

func (c *calls) make() {
	for _, wake := range c.wakes {
		wake()
	}
	for _, a := range c.dones {
		a.done(a.err)
	}
	clear(c.wakes)
	clear(c.dones)
	c.wakes, c.dones = c.wakes[:0], c.dones[:0]
}
