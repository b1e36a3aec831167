package proxy

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sarnicdb/sarnic/proxy/wire"
)

// phrases are well-formed frames, from which a fuzzer makes conversations a byte at a time.
func phrases() (all [][]byte) {
	add := func(b []byte) { all = append(all, b) }
	statements := []string{
		"select 1", "select $1::int4", "select 1/0", "select nonsense", "begin", "commit", "rollback", "savepoint s", "rollback to s",
		"copy kv from stdin", "deallocate all", "discard all", "insert into kv values ('k', 1)", "select v from kv where k = 'k'", "",
		"set application_name = 'x'", "show application_name",
	}
	for _, sql := range statements {
		if !strings.Contains(sql, "$") {
			add(wire.AppendQuery(nil, sql))
		}
	}
	add(wire.AppendQuery(nil, "select 1; select 2"))
	add(wire.AppendQuery(nil, "begin; select 1/0"))
	add(wire.AppendQuery(nil, "select 1; deallocate all"))
	for _, name := range []string{"", "a", "b", "c"} {
		for _, sql := range statements {
			add(wire.AppendParse(nil, name, sql, nil))
		}
		add(wire.AppendParse(nil, name, "select $1::int4", []uint32{23}))
		add(wire.AppendBind(nil, "", name, nil, nil, nil))
		add(wire.AppendBind(nil, "", name, nil, [][]byte{[]byte("7")}, nil))
		add(wire.AppendBind(nil, "p", name, nil, nil, nil))
		add(wire.AppendDescribe(nil, 'S', name))
		add(wire.AppendClose(nil, 'S', name))
	}
	for _, portal := range []string{"", "p"} {
		add(wire.AppendDescribe(nil, 'P', portal))
		add(wire.AppendExecute(nil, portal, 0))
		add(wire.AppendExecute(nil, portal, 1))
		add(wire.AppendClose(nil, 'P', portal))
	}
	for range 20 { // often enough to get somewhere
		add(wire.AppendSync(nil))
	}
	add(wire.AppendFlush(nil))
	add(wire.AppendCopyData(nil, []byte("k\t1\n")))
	add(wire.AppendCopyData(nil, []byte("nonsense\n")))
	add(wire.AppendCopyDone(nil))
	add(wire.AppendCopyFail(nil, "no"))
	return all
}

// conversation is a phrase for each byte.
func conversation(ops []byte) []byte {
	all := phrases()
	var out bytes.Buffer
	for _, op := range ops {
		out.Write(all[int(op)%len(all)])
	}
	return out.Bytes()
}

// TestPipelines plays conversations drawn at random. SARNIC_PIPELINES says how many, SARNIC_PIPELINE plays one of them.
func TestPipelines(t *testing.T) {
	first, n := uint64(0), uint64(1500)
	if raceDetector {
		n = 300
	}
	if s := os.Getenv("SARNIC_PIPELINES"); s != "" {
		n, _ = strconv.ParseUint(s, 10, 64)
	}
	if s := os.Getenv("SARNIC_PIPELINE"); s != "" {
		first, _ = strconv.ParseUint(s, 10, 64)
		n = 1
	}
	for seed := first; seed < first+n; seed++ {
		r := rand.New(rand.NewPCG(seed, 3))
		ops := make([]byte, 1+r.IntN(60))
		for i := range ops {
			ops[i] = byte(r.Uint32())
		}
		data := conversation(ops)
		if err := sessionGets(seed, data); err != nil {
			t.Errorf("conversation %d: %q: %v", seed, data, err)
			if t.Failed() && seed > first+100 {
				return
			}
		}
	}
}

// FuzzPipeline: a client is answered as by a server of its own, whatever frames it puts one behind the other.
func FuzzPipeline(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for seed := range uint64(200) {
		ops := make([]byte, 1+r.IntN(30))
		for i := range ops {
			ops[i] = byte(r.Uint32())
		}
		f.Add(seed, ops)
	}
	f.Fuzz(func(t *testing.T, seed uint64, ops []byte) {
		if len(ops) > 200 {
			return
		}
		data := conversation(ops)
		if err := sessionGets(seed, data); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
	})
}
