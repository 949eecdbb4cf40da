package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite", without cgo
)

// errStale means that a holder with a later fencing token has been here: the caller's lock is another's by now.
var errStale = errors.New("a holder with a later fencing token has been here")

// counters is a table of numbers in SQLite. Each row notes the latest fencing token that it has seen, and turns away
// holders that come with an earlier one. A counter that has no row is 0.
type counters struct{ db *sql.DB }

func openCounters(ctx context.Context, path string) (*counters, error) {
	file := url.URL{Path: filepath.ToSlash(path)}
	db, err := sql.Open("sqlite", "file:"+file.EscapedPath()+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer at a time
	_, err = db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS counters (
		name  TEXT PRIMARY KEY,
		value INTEGER NOT NULL,
		fence INTEGER NOT NULL
	) STRICT`)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the table: %w", err), db.Close())
	}
	return &counters{db}, nil
}

func (c *counters) Close() error { return c.db.Close() }

// read gives a counter, and notes the fencing token with which it was read in the same statement: from then on, nobody
// with an earlier one reads or writes it.
func (c *counters) read(ctx context.Context, name string, fence int64) (value int64, err error) {
	err = c.db.QueryRowContext(ctx, `
		INSERT INTO counters (name, value, fence) VALUES (?, 0, ?)
		ON CONFLICT (name) DO UPDATE SET fence = excluded.fence WHERE fence <= excluded.fence
		RETURNING value`, name, fence).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) { // there is a row, but its token is a later one
		return 0, fmt.Errorf("read %s: %w", name, errStale)
	}
	return value, err
}

// readUnchecked is all that a read does in a store that checks fencing tokens on writes alone.
func (c *counters) readUnchecked(ctx context.Context, name string, _ int64) (value int64, err error) {
	err = c.db.QueryRowContext(ctx, `SELECT value FROM counters WHERE name = ?`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return value, err
}

// write sets a counter, unless the row has seen a later fencing token.
func (c *counters) write(ctx context.Context, name string, value, fence int64) error {
	result, err := c.db.ExecContext(ctx, `
		INSERT INTO counters (name, value, fence) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value, fence = excluded.fence WHERE fence <= excluded.fence`,
		name, value, fence)
	if err != nil {
		return err
	}
	if written, err := result.RowsAffected(); err != nil || written == 1 {
		return err
	}
	return fmt.Errorf("write %s: %w", name, errStale)
}
