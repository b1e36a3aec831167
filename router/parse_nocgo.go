//go:build !cgo

package router

import (
	pgquery "github.com/pganalyze/pg_query_go/v6"
	wasm "github.com/wasilibs/go-pgquery"
)

func parseTree(text string) (*pgquery.ParseResult, error) { return wasm.Parse(text) }

func scanTokens(text string) (*pgquery.ScanResult, error) { return wasm.Scan(text) }
