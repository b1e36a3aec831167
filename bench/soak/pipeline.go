package main

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// pipelined is what came of a pipeline.
type pipelined struct {
	err     error // the first error of the server, or of the connection, or a wrong answer
	lastTag string
	done    bool // every ReadyForQuery has come
}

// pipeline sends requests without waiting for answers, with a Sync behind each of those whose index is in syncs, and behind the
// last. What a failed request's segment has behind it, the server skips.
func (s *session) pipeline(ctx context.Context, rs []request, syncs []int) (p pipelined) {
	if err := s.preparePipeline(ctx, rs); err != nil {
		return pipelined{err: err}
	}
	s.begun("pipeline of %d requests, Syncs behind %v: %s …", len(rs), syncs, rs[0].sql)
	pl := s.conn.StartPipeline(ctx)
	ends := []int{} // of the segments
	for i, r := range rs {
		if r.name != "" && s.prepared[r.name] == there {
			pl.SendQueryPrepared(r.name, texts(r.args), nil, nil)
		} else {
			pl.SendQueryParams(r.sql, texts(r.args), nil, nil, nil)
		}
		if i < len(rs)-1 && slices.Contains(syncs, i) {
			pl.SendPipelineSync()
			ends = append(ends, i+1)
		}
	}
	ends = append(ends, len(rs))
	if err := pl.Sync(); err != nil {
		return pipelined{err: errors.Join(err, pl.Close())}
	}
	p.read(pl, rs, ends)
	if err := pl.Close(); p.err == nil {
		p.err = err
	}
	if p.err != nil {
		s.did.add("  %v", p.err)
	}
	return p
}

// preparePipeline prepares some of the statements beforehand, so that both forms occur in one pipeline.
func (s *session) preparePipeline(ctx context.Context, rs []request) error {
	for _, r := range rs {
		if r.name != "" && s.random.IntN(3) == 0 {
			if err := s.prepare(ctx, r.statement); err != nil {
				return err
			}
		}
	}
	return nil
}

// read takes the answers, up to the last ReadyForQuery.
func (p *pipelined) read(pl *pgconn.Pipeline, rs []request, ends []int) {
	next := 0 // the request whose answer is due
	for segment := 0; segment < len(ends); {
		result, err := pl.GetResults()
		var told *pgconn.PgError
		switch {
		case errors.As(err, &told) && told.Severity == "ERROR":
			p.note(err)
			next = ends[segment] // the rest of the segment is skipped
		case err != nil:
			p.note(err)
			return
		case result == nil:
			p.note(wrongf("the pipeline has no answer where one is due"))
			return
		default:
			if next, segment = p.one(result, rs, ends, next, segment); segment < 0 {
				return
			}
		}
	}
	p.done = true
}

// one takes one answer and returns where the pipeline is then; a segment below 0 is the end.
func (p *pipelined) one(result any, rs []request, ends []int, next, segment int) (nextAfter, segmentAfter int) {
	switch result := result.(type) {
	case *pgconn.PipelineSync:
		if next != ends[segment] {
			p.note(wrongf("ReadyForQuery although the answer to %q is due", rs[next].sql))
			return next, -1
		}
		return next, segment + 1
	case *pgconn.ResultReader:
		got := result.Read()
		switch {
		case got.Err != nil:
			p.note(got.Err)
			return ends[segment], segment
		case next == ends[segment]:
			p.note(wrongf("an answer where ReadyForQuery is due"))
			return next, -1
		}
		p.lastTag = got.CommandTag.String()
		if rolledBack := p.err != nil && rs[next].tag == "COMMIT" && p.lastTag == "ROLLBACK"; !rolledBack {
			if err := rs[next].check(got); err != nil {
				p.note(err)
			}
		}
		return next + 1, segment
	default:
		p.note(wrongf("a %T in a pipeline of queries", result))
		return next, -1
	}
}

// note keeps the first error, unless a wrong answer comes: that one counts.
func (p *pipelined) note(err error) {
	var wrong *wrongAnswer
	if p.err == nil || errors.As(err, &wrong) && !errors.As(p.err, &wrong) {
		p.err = err
	}
}
