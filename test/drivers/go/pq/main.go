// lib/pq behind database/sql, with statements that are prepared once.
package main

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"time"

	"github.com/lib/pq"

	. "drivers/scenario"
)

var (
	ctx        = context.Background()
	url        = os.Getenv("DATABASE_URL") + "?sslmode=disable"
	db         *sql.DB
	statements = map[string]*sql.Stmt{}
)

func statement(text string) *sql.Stmt {
	if statements[text] == nil {
		made, err := db.Prepare(text)
		Must(err)
		statements[text] = made
	}
	return statements[text]
}

func amountOf(p *Phase) (amount int64) {
	Must(statement("SELECT amount FROM orders WHERE id = $1").QueryRow(p.ID).Scan(&amount))
	return
}

func prepared(p *Phase) {
	insert := statement("INSERT INTO orders (amount, " + p.Column + ") VALUES ($1, $2) RETURNING id, amount")
	var amount int64
	Must(insert.QueryRow(41, p.Tag).Scan(&p.ID, &amount))
	Check(amount, 41)
	_, err := statement("UPDATE orders SET amount = amount + $1 WHERE id = $2").Exec(1, p.ID)
	Must(err)
	Check(amountOf(p), 42)
	rows, err := db.Query("SELECT * FROM orders WHERE id = $1", p.ID)
	Must(err)
	defer rows.Close()
	names, err := rows.Columns()
	Must(err)
	Check(names, p.Star)
}

func null(p *Phase) {
	var amount sql.NullInt64
	insert := statement("INSERT INTO orders (amount, " + p.Column + ") VALUES ($1, $2) RETURNING id, amount")
	var id int
	Must(insert.QueryRow(nil, p.Tag).Scan(&id, &amount))
	Check(amount.Valid, false)
}

func upsert(p *Phase) {
	var amount int64
	Must(statement("INSERT INTO orders (id, amount, "+p.Column+") VALUES ($1, $2, $3) "+
		"ON CONFLICT (id) DO UPDATE SET amount = excluded.amount + 1 RETURNING amount").
		QueryRow(p.ID, 5, p.Tag).Scan(&amount))
	Check(amount, 6)
}

func savepoint(p *Phase) {
	tx, err := db.Begin()
	Must(err)
	defer tx.Rollback()
	_, err = tx.Exec("UPDATE orders SET amount = 100 WHERE id = $1", p.ID)
	Must(err)
	_, err = tx.Exec("SAVEPOINT s")
	Must(err)
	_, err = tx.Exec("INSERT INTO orders (amount, "+p.Column+") VALUES ($1, $2)", 1, nil)
	var failure *pq.Error
	Check(errors.As(err, &failure), true)
	Check(failure.Code, "23502")
	_, err = tx.Exec("ROLLBACK TO s")
	Must(err)
	var amount int64
	Must(tx.Stmt(statement("SELECT amount FROM orders WHERE id = $1")).QueryRow(p.ID).Scan(&amount))
	Check(amount, 100)
	Must(tx.Rollback())
	Check(amountOf(p), 6)
}

func copyIn(p *Phase) {
	tag := p.Tag + " c"
	tx, err := db.Begin()
	Must(err)
	defer tx.Rollback()
	in, err := tx.Prepare(pq.CopyIn("orders", "amount", p.Column))
	Must(err)
	for _, amount := range []any{1, 2, nil} {
		_, err = in.Exec(amount, tag)
		Must(err)
	}
	_, err = in.Exec()
	Must(err)
	Must(in.Close())
	Must(tx.Commit())
	var sum int
	Must(db.QueryRow("SELECT sum(amount) FROM orders WHERE "+p.Column+" = $1", tag).Scan(&sum))
	Check(sum, 3)
}

func large(p *Phase) {
	var payload string
	var id int
	Must(statement("INSERT INTO orders (amount, "+p.Column+", payload) VALUES (7, $1, $2) RETURNING id, payload").
		QueryRow(p.Tag, Large).Scan(&id, &payload))
	Check(payload == Large, true)
	_, err := db.Exec("DELETE FROM orders WHERE id = $1", id)
	Must(err)
}

func wide(p *Phase) {
	var id, amount int64
	Must(db.QueryRow("INSERT INTO orders (amount, "+p.Column+") VALUES ($1, $2) RETURNING id, amount",
		int64(3_000_000_000), p.Tag).Scan(&id, &amount))
	Check(amount, 3_000_000_000)
	_, err := db.Exec("DELETE FROM orders WHERE id = $1", id)
	Must(err)
}

func cancel(*Phase) {
	limited, stop := context.WithTimeout(ctx, 100*time.Millisecond)
	defer stop()
	_, err := db.ExecContext(limited, "SELECT pg_sleep(30)")
	Check(err != nil, true)
	var failure *pq.Error
	if errors.As(err, &failure) {
		Check(failure.Code, "57014")
	} else {
		Check(errors.Is(err, context.DeadlineExceeded), true)
	}
}

func notify(p *Phase) {
	listener := pq.NewListener(url, time.Second, time.Second, nil)
	defer listener.Close()
	Must(listener.Listen("orders_pq"))
	_, err := db.Exec("SELECT pg_notify('orders_pq', $1)", p.Tag)
	Must(err)
	select {
	case notification := <-listener.Notify:
		Check(notification.Extra, p.Tag)
	case <-time.After(5 * time.Second):
		panic("no notification")
	}
}

func main() {
	var err error
	db, err = sql.Open("postgres", url)
	Must(err)
	// One connection that is kept, so that a statement is as old as it.
	db.SetMaxOpenConns(1)
	Must(db.Ping())
	Run(Version("github.com/lib/pq"), "pq", []Step{
		{"prepared", prepared},
		{"null", null},
		{"upsert", upsert},
		{"savepoint", savepoint},
		{"copy in", copyIn},
		{"large", large},
		{"wide", wide},
		{"notify", notify},
		{"cancel", cancel},
	}, func() {})
}
