package admin

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// FuzzServe sends bytes as they come. The answer is whole frames, as many ReadyForQuery as were asked for at most, and then
// the end.
func FuzzServe(f *testing.F) {
	f.Add(wire.AppendQuery(nil, "SHOW LISTS; SHOW POOLS"))
	f.Add(wire.AppendSync(wire.AppendExecute(wire.AppendDescribe(wire.AppendParse(nil, "", "SHOW CLIENTS", nil), 'S', ""), "", 3)))
	f.Add(wire.AppendQuery(wire.AppendQuery(nil, "BEGIN"), "nonsense"))
	f.Add([]byte("B\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, input []byte) {
		here, there := net.Pipe()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer there.Close()
			state := full()
			_ = Serve(ctx, there, Who{User: "op", Access: Operate, Secret: []byte("1234")}, Console{
				Snapshot: func(context.Context, Part) (State, error) { return state, nil },
				Do:       func(context.Context, Command) error { return nil },
			})
		}()
		var out bytes.Buffer
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = out.ReadFrom(here)
		}()
		_ = here.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = here.Write(append(input, wire.AppendTerminate(nil)...))
		select {
		case <-ended:
		case <-time.After(5 * time.Millisecond): // a length promised more than came
			_ = here.Close()
			<-ended
		}
		_ = here.Close()
		<-read
		frontend := pgproto3.NewFrontend(&out, nil)
		for out.Len() > 0 {
			if _, err := frontend.Receive(); err != nil {
				t.Fatalf("the answer is no frame: %v", err)
			}
		}
	})
}

// FuzzBinaryNumeric compares with what a driver reads.
func FuzzBinaryNumeric(f *testing.F) {
	for _, n := range []int64{0, 1, 9999, 10_000, 10_001, 1 << 62, -1, -10_000, 1<<63 - 1, -1 << 63} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		var got pgtype.Numeric
		if err := pgtype.NewMap().Scan(pgtype.NumericOID, pgtype.BinaryFormatCode, binaryNumeric(n), &got); err != nil {
			t.Fatal(err)
		}
		if i, err := got.Int64Value(); err != nil || i.Int64 != n {
			t.Fatalf("%d: %+v, %v", n, got, err)
		}
	})
}
