package difftest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// oneSeed is the environment variable for one seed; a transcript that fails then is made as short as it can be.
const oneSeed = "SARNIC_RANDOM_SEED"

// randomSteps is how many requests the two clients of one random run send.
const randomSteps = 40

// TestRandomPipelines plays random pipelines of two clients directly and through the proxy. SARNIC_RANDOM_SEED plays one
// seed and makes a failing transcript short, SARNIC_RANDOM_RUNS plays that many.
func TestRandomPipelines(t *testing.T) {
	seeds := randomSeeds(t)
	for _, s := range servers {
		for _, seed := range seeds {
			t.Run(fmt.Sprintf("%d/seed %d", s.version, seed), func(t *testing.T) {
				t.Parallel()
				playRandom(t, s, seed)
			})
		}
	}
}

func randomSeeds(t *testing.T) []uint64 {
	if text := os.Getenv(oneSeed); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	runs := 30
	if text := os.Getenv("SARNIC_RANDOM_RUNS"); text != "" {
		var err error
		if runs, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	var seeds []uint64
	for i := range runs {
		seeds = append(seeds, uint64(i+1))
	}
	return seeds
}

// playRandom writes a transcript as it goes: the direct run decides whose turn it is, because a client may only be waited
// for when the other one holds no transaction.
func playRandom(t *testing.T, s *server, seed uint64) {
	room := s.enter(t)
	random := rand.New(rand.NewPCG(seed, 0))
	script := &transcript{path: fmt.Sprintf("seed %d", seed), poolSize: 1}
	script.steps = []step{
		{verb: verbSetup, text: randomSetup, from: -1}, {verb: verbJoin, who: "A", from: -1}, {verb: verbJoin, who: "B", from: -1},
	}
	direct := &run{script: script, addr: s.Addr(), who: room.account(), super: room.super}
	oracle, err := direct.playOn(t.Context(), randomWriter(random))
	if err != nil {
		t.Fatalf("direct: %v\n%s", err, script.written())
	}
	if err := room.empty(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, room.appDSN(), 1)
	proxied := &run{script: script, addr: p.addr, who: room.account(), super: room.super, oracle: oracle, pieces: random}
	if _, err = proxied.play(t.Context()); err == nil {
		return
	}
	if os.Getenv(oneSeed) != "" {
		script, err = shrink(t, room, script, err)
	}
	t.Errorf("%v\n%s", err, script.written())
}

const randomSetup = `CREATE TABLE t (n int PRIMARY KEY, v text); ALTER TABLE t OWNER TO app;
	CREATE TABLE shape (n int); ALTER TABLE shape OWNER TO app;
	CREATE FUNCTION say(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', $1; RETURN $1; END $$`

// randomWriter continues a transcript: given what the last request was answered, it says what comes next.
func randomWriter(random *rand.Rand) func(last []frame) []step {
	who, left := "A", randomSteps
	return func(last []frame) []step {
		if statusOf(last) == 'I' && random.IntN(2) == 0 {
			who = map[string]string{"A": "B", "B": "A"}[who]
		}
		left--
		if left < 0 {
			if statusOf(last) != 'I' {
				return sendAndRead(who, `Query "ROLLBACK"`, 1)
			}
			return nil
		}
		line, answers := randomRequest(random, who)
		return sendAndRead(who, line, answers)
	}
}

// statusOf is the transaction status the last answer ended with; before the first it is I.
func statusOf(frames []frame) byte {
	if len(frames) == 0 || frames[len(frames)-1].typ != 'Z' {
		return 'I'
	}
	return frames[len(frames)-1].body[0]
}

func sendAndRead(who, line string, answers int) []step {
	return []step{
		{verb: verbSend, who: who, text: line, from: -1},
		{verb: verbRead, who: who, text: fmt.Sprintf("%dx(ReadyForQuery)", answers), from: -1},
	}
}

// randomRequest is one write of a client, and the number of ReadyForQuery it will have.
func randomRequest(random *rand.Rand, who string) (line string, answers int) {
	var parts []string
	for range 1 + random.IntN(3) {
		part, n := randomPart(random, who)
		parts = append(parts, part)
		answers += n
	}
	return strings.Join(parts, " | "), answers
}

func randomPart(random *rand.Rand, who string) (string, int) {
	switch n := random.IntN(20); {
	case n < 5:
		return fmt.Sprintf("Query %q", randomSQL(random, who)), 1
	case n == 5:
		return `FunctionCall 177 [1, 2]`, 1
	case n == 6:
		return `Query "COPY t FROM STDIN" | ` + randomCopy(random), 1
	case n == 7:
		return "CopyData \"late\" | CopyDone | Sync", 1
	default:
		var parts []string
		for range 1 + random.IntN(5) {
			parts = append(parts, randomMessage(random, who))
		}
		return strings.Join(append(parts, "Sync"), " | "), 1
	}
}

func randomSQL(random *rand.Rand, who string) string {
	own := fmt.Sprintf("'%s%d'", who, random.IntN(100))
	all := []string{
		"SELECT " + own, "SELECT " + own, "", "broken", "BEGIN", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT x", "ROLLBACK TO x",
		"SELECT say(" + own + ")", "INSERT INTO t VALUES (" + strconv.Itoa(random.IntN(50)) + ", " + own + ") RETURNING n, v",
		"DELETE FROM t WHERE n < 25", "SELECT n, v FROM t ORDER BY n", "SELECT 1/0", "SELECT 1; SELECT " + own + "; SELECT 1/(n-2) FROM generate_series(1, 3) n",
		"COPY t TO STDOUT", "COMMIT AND CHAIN", "SELECT", "ALTER TABLE shape ADD COLUMN IF NOT EXISTS v text", "ALTER TABLE shape DROP COLUMN IF EXISTS v",
		"DEALLOCATE ALL", "SET LOCAL work_mem = '1MB'", "SELECT * FROM shape",
	}
	if random.IntN(3) == 0 {
		all = append(randomSettings(random, own), "PREPARE s AS SELECT "+own, "PREPARE t (int) AS SELECT $1, "+own, "EXECUTE s", "EXECUTE t(7)",
			"EXECUTE u", "DEALLOCATE s", "DEALLOCATE t", "DISCARD ALL", "BEGIN; SET work_mem = '5MB'; ROLLBACK")
	}
	return all[random.IntN(len(all))]
}

// randomSettings change and show what a session has and a transaction may undo.
func randomSettings(random *rand.Rand, own string) []string {
	return []string{
		fmt.Sprintf("SET work_mem = '%dMB'", 2+random.IntN(5)), "SET application_name = " + own, "SET work_mem = 'lots'", "RESET work_mem",
		"RESET ALL", "SET DateStyle = 'German'", "SET my.own = " + own, "SHOW work_mem", "SHOW application_name", "SHOW work_mem", "SHOW DateStyle",
		fmt.Sprintf("SELECT set_config('work_mem', '%dMB', false)", 7+random.IntN(3)), "SELECT set_config('work_mem', '1MB', true)",
		"SELECT coalesce(current_setting('my.own', true), '')", "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
		"SHOW default_transaction_isolation", "SET default_transaction_isolation TO DEFAULT", "SET TIME ZONE 'Asia/Tokyo'", "SHOW TimeZone",
	}
}

func randomCopy(random *rand.Rand) string {
	n := random.IntN(50)
	switch random.IntN(4) {
	case 0:
		return `CopyFail "no"`
	case 1:
		return fmt.Sprintf(`CopyData "%d\tcopied\n" | CopyData "x\ty\n" | CopyData "%d\tcopied\n" | CopyDone`, n, n)
	default:
		return fmt.Sprintf(`CopyData "%d\tcop" | CopyData "ied\n" | CopyDone`, n)
	}
}

// randomMessage is one message of the extended protocol. Names are few, so that they meet. An Execute or a Describe of a
// portal stands only behind its Bind: PostgreSQL 15 to 18 crash where one meets the portal of a simple Query that failed.
func randomMessage(random *rand.Rand, who string) string {
	name := []string{`""`, `""`, "s", "t", "u"}[random.IntN(5)]
	portal := []string{`""`, `""`, `""`, "p"}[random.IntN(4)]
	switch n := random.IntN(22); {
	case n < 6:
		return fmt.Sprintf("Parse %s %q", name, randomPrepared(random, who))
	case n < 12:
		return fmt.Sprintf("Bind %s %s [] | Execute %s", portal, name, portal)
	case n < 14:
		return fmt.Sprintf("Bind %s %s [] | Describe P %s | Execute %s %d", portal, name, portal, portal, random.IntN(3))
	case n < 16:
		return fmt.Sprintf("Bind %s %s [%d]", portal, name, random.IntN(5))
	case n < 18:
		return fmt.Sprintf("Parse %s %q | Describe S %s", name, randomPrepared(random, who), name)
	case n < 20:
		return "Close S " + name
	case n == 20:
		return "Close P " + portal
	default:
		return "Flush"
	}
}

func randomPrepared(random *rand.Rand, who string) string {
	own := fmt.Sprintf("'%s%d'", who, random.IntN(5))
	all := []string{
		"SELECT " + own, "SELECT " + own, "SELECT 'same'", "SELECT $1::int, " + own, "broken", "", "BEGIN", "COMMIT", "ROLLBACK",
		"SELECT * FROM shape", "SELECT n FROM generate_series(1, 4) n", "SELECT 1/$1::int", "INSERT INTO t SELECT 100 + count(*), 'prepared' FROM t",
		"SELECT count(*) FROM t", "SELECT say(" + own + ")", "DEALLOCATE ALL",
	}
	if random.IntN(4) == 0 {
		all = randomSettings(random, own)
	}
	return all[random.IntN(len(all))]
}

// written is the transcript as a file would have it.
func (t *transcript) written() string {
	var out []string
	for _, st := range t.steps {
		switch st.verb {
		case verbSend, verbRead:
			out = append(out, st.who+string(st.verb)+" "+st.text)
		case verbSetup:
			out = append(out, "setup "+strings.Join(strings.Fields(st.text), " "))
		}
	}
	return strings.Join(out, "\n")
}
