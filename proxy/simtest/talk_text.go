package simtest

import "fmt"

// key is one of a few, so that rows are met again.
func (t *Talk) key() string { return fmt.Sprintf("%s.k%d", t.mark, t.rnd.IntN(4)) }

// word and number are new each time.
func (t *Talk) word() string {
	t.serial++
	return fmt.Sprintf("%s.w%d", t.mark, t.serial)
}

func (t *Talk) number() int {
	t.serial++
	return t.serial
}

// text makes a statement, with parameters if they are wanted. Most say whose they are; others are what many clients
// say, and what a pool prepares once for all of them.
func (t *Talk) text(wanted bool) (sql, params string) {
	count := t.rnd.IntN(6)
	if t.one(30) {
		count = 200
	}
	wanted = wanted && t.one(2)
	switch i := t.rnd.IntN(44); {
	case i < 10:
		sql, params = t.reading(i, wanted, count)
	case i < 18:
		sql, params = t.row(i-10, wanted)
	case i < 25:
		sql = t.special(i-18, count)
	case i < 40:
		sql = t.transaction(i - 25)
	default:
		sql = t.setting(i - 40)
	}
	if sql != "" && !t.one(4) {
		sql = "/*" + t.mark + ".*/ " + sql
	}
	return sql, params
}

func (t *Talk) reading(i int, param bool, count int) (sql, params string) {
	switch {
	case i < 4 && param:
		return "select $1::text", "t"
	case i < 4:
		return fmt.Sprintf("select '%s'", t.word()), ""
	case i < 6:
		return fmt.Sprintf("select '%s.fixed'", t.mark), ""
	case param:
		return fmt.Sprintf("select $1::text || g from generate_series(1, %d) g", count), "t"
	}
	return fmt.Sprintf("select '%s' || g from generate_series(1, %d) g", t.word(), count), ""
}

func (t *Talk) row(i int, param bool) (sql, params string) {
	const put = " on conflict (k) do update set v = excluded.v"
	switch {
	case i < 4 && param:
		return "insert into kv values ($1, $2)" + put, "ki"
	case i < 4:
		return fmt.Sprintf("insert into kv values ('%s', %d)", t.key(), t.number()) + put, ""
	case i < 5:
		return fmt.Sprintf("update kv set v = v + %d where k = '%s'", 1+t.rnd.IntN(9), t.key()), ""
	case param:
		return "select v from kv where k = $1", "k"
	}
	return fmt.Sprintf("select v from kv where k = '%s'", t.key()), ""
}

func (t *Talk) special(i, count int) string {
	switch i {
	case 0, 1:
		return "select 1/0"
	case 2:
		return fmt.Sprintf("select '%s' || 1/(%d-g) from generate_series(1, 300) g", t.word(), count+1)
	case 3:
		return fmt.Sprintf("do $$begin raise notice '%s'; end$$", t.word())
	case 4, 5:
		return fmt.Sprintf("select pg_sleep(0.%03d)", t.rnd.IntN(4))
	}
	return "nonsense"
}

func (t *Talk) transaction(i int) string {
	_, _, _, status := t.ref.State()
	switch {
	case i < 5 && status == 'I':
		return "begin"
	case i < 8:
		return "commit"
	case i < 10:
		return "rollback"
	case i < 12:
		return "copy kv from stdin"
	case i < 13:
		return fmt.Sprintf("copy (select '%s' || g from generate_series(1, %d) g) to stdout", t.word(), t.rnd.IntN(6))
	case i < 14:
		return []string{"savepoint s", "rollback to s", "release s"}[t.rnd.IntN(3)]
	}
	return ""
}

func (t *Talk) setting(i int) string {
	switch {
	case i < 2:
		return "show application_name"
	case t.one(2):
	case t.Resets && t.one(2):
		return []string{"reset application_name", "discard all"}[t.rnd.IntN(2)]
	default:
		return fmt.Sprintf("set application_name = '%s'", t.word())
	}
	return ""
}
