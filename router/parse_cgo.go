//go:build cgo

package router

import pgquery "github.com/pganalyze/pg_query_go/v6"

func parseTree(text string) (*pgquery.ParseResult, error) { return pgquery.Parse(text) }

func scanTokens(text string) (*pgquery.ScanResult, error) { return pgquery.Scan(text) }
