package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite" // the driver "sqlite", without cgo
	sqlite3 "modernc.org/sqlite/lib"
)

// busyTimeout is how long a call waits for the writer of another connection.
const busyTimeout = 5 * time.Second

// seededUsers is how many users a new database starts with.
const seededUsers = 20_000

// errNotFound means that there is no user of the id asked for.
var errNotFound = errors.New("there is no such user")

// A User is a row of the table users, and what clients get to see of it.
type User struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// A repository reads and writes users in SQLite. It knows nothing of the cache above it.
type repository struct {
	db *sql.DB

	// pause runs before each call of the database; -delay sleeps in it.
	pause func(ctx context.Context) error

	// seeded says that the database was new.
	seeded bool

	// tempDir is what Close removes, empty if the database file is the user's own.
	tempDir string
}

// openRepository opens the database file at path, or a temporary one if path is empty, makes its table and seeds
// it if it is new. Several processes may open one file at the same time.
func openRepository(ctx context.Context, path string, pause func(context.Context) error) (*repository, error) {
	r := &repository{pause: pause}
	if path == "" {
		dir, err := os.MkdirTemp("", "cachify-users-")
		if err != nil {
			return nil, fmt.Errorf("make a temporary database: %w", err)
		}
		r.tempDir, path = dir, filepath.Join(dir, "users.db")
	}
	dsn, err := sqliteDSN(path)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if r.db, err = sql.Open("sqlite", dsn); err != nil {
		return nil, errors.Join(fmt.Errorf("open the database: %w", err), r.Close())
	}
	r.db.SetMaxOpenConns(8)
	r.db.SetMaxIdleConns(8)
	if err := r.migrateWhenFree(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the database %s: %w", path, err), r.Close())
	}
	return r, nil
}

// sqliteDSN sets up every connection: readers don't block the writer (WAL), a writer waits for another one
// instead of failing, also for one in another process, and a transaction takes the write lock when it begins.
func sqliteDSN(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the database: %w", err)
	}
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // Windows: file:///C:/users.db
	}
	query := url.Values{
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)", "synchronous(NORMAL)"},
		"_txlock": {"immediate"},
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String(), nil
}

// migrateWhenFree is migrate with patience: while another process turns a new file to WAL, SQLite refuses
// connections at once, without busy_timeout.
func (r *repository) migrateWhenFree(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		err := r.migrate(ctx)
		var refused *sqlite.Error
		if !errors.As(err, &refused) || refused.Code() != sqlite3.SQLITE_BUSY {
			return err
		}
		if sleep(10*time.Millisecond)(ctx) != nil {
			return err
		}
	}
}

// migrate makes and seeds the table in one transaction, so that of several instances that start
// together on one file the first one does it and the others find it done.
func (r *repository) migrate(ctx context.Context) error {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it has nothing to do
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS users (
		id    INTEGER PRIMARY KEY AUTOINCREMENT,
		name  TEXT NOT NULL,
		email TEXT NOT NULL
	)`); err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, `
		WITH RECURSIVE seed(n) AS (
			SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM users)
			UNION ALL
			SELECT n + 1 FROM seed WHERE n < ?
		)
		INSERT INTO users (name, email)
		SELECT 'User ' || n, 'user' || n || '@example.com' FROM seed`, seededUsers)
	if err != nil {
		return err
	}
	added, err := result.RowsAffected()
	if err != nil {
		return err
	}
	r.seeded = added > 0
	return tx.Commit()
}

// Close closes the database, and removes it if it is a temporary one.
func (r *repository) Close() error {
	var errs []error
	if r.db != nil {
		errs = append(errs, r.db.Close())
	}
	if r.tempDir != "" {
		errs = append(errs, os.RemoveAll(r.tempDir))
	}
	return errors.Join(errs...)
}

// Create stores a new user and returns it with its id. Like Update it has committed when it returns: a statement
// outside a transaction is one of its own.
func (r *repository) Create(ctx context.Context, user User) (User, error) {
	if err := r.pause(ctx); err != nil {
		return User{}, err
	}
	result, err := r.db.ExecContext(ctx, `INSERT INTO users (name, email) VALUES (?, ?)`, user.Name, user.Email)
	if err != nil {
		return User{}, fmt.Errorf("insert a user: %w", err)
	}
	if user.ID, err = result.LastInsertId(); err != nil {
		return User{}, fmt.Errorf("insert a user: %w", err)
	}
	return user, nil
}

// Read returns one user, or errNotFound.
func (r *repository) Read(ctx context.Context, id int64) (User, error) {
	if err := r.pause(ctx); err != nil {
		return User{}, err
	}
	user := User{ID: id}
	err := r.db.QueryRowContext(ctx, `SELECT name, email FROM users WHERE id = ?`, id).Scan(&user.Name, &user.Email)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return User{}, errNotFound
	case err != nil:
		return User{}, fmt.Errorf("read user %d: %w", id, err)
	}
	return user, nil
}

// List returns at most limit users in the order of their ids, without the first skip. It never returns nil.
func (r *repository) List(ctx context.Context, skip, limit int) ([]User, error) {
	if err := r.pause(ctx); err != nil {
		return nil, err
	}
	rows, err := r.db.QueryContext(ctx, `SELECT id, name, email FROM users ORDER BY id LIMIT ? OFFSET ?`, limit, skip)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	defer rows.Close()
	users := make([]User, 0, limit)
	for rows.Next() {
		var user User
		if err := rows.Scan(&user.ID, &user.Name, &user.Email); err != nil {
			return nil, fmt.Errorf("list users: %w", err)
		}
		users = append(users, user)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return users, nil
}

// Update replaces a user's name and e-mail address, and returns errNotFound if there is no such user.
func (r *repository) Update(ctx context.Context, user User) error {
	if err := r.pause(ctx); err != nil {
		return err
	}
	result, err := r.db.ExecContext(ctx, `UPDATE users SET name = ?, email = ? WHERE id = ?`, user.Name, user.Email, user.ID)
	if err != nil {
		return fmt.Errorf("update user %d: %w", user.ID, err)
	}
	switch n, err := result.RowsAffected(); {
	case err != nil:
		return fmt.Errorf("update user %d: %w", user.ID, err)
	case n == 0:
		return errNotFound
	}
	return nil
}
