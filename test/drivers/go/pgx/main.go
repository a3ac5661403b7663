// pgx in one of its modes (MODE), by default with prepared statements and binary results.
package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	. "drivers/scenario"
)

var (
	ctx  = context.Background()
	mode = os.Getenv("MODE")
	conn *pgx.Conn
)

var modes = map[string]pgx.QueryExecMode{
	"cache_statement": pgx.QueryExecModeCacheStatement,
	"cache_describe":  pgx.QueryExecModeCacheDescribe,
	"describe_exec":   pgx.QueryExecModeDescribeExec,
	"exec":            pgx.QueryExecModeExec,
	"simple_protocol": pgx.QueryExecModeSimpleProtocol,
}

func connect() *pgx.Conn {
	config, err := pgx.ParseConfig(os.Getenv("DATABASE_URL"))
	Must(err)
	config.DefaultQueryExecMode = modes[mode]
	made, err := pgx.ConnectConfig(ctx, config)
	Must(err)
	return made
}

func names(rows pgx.Rows) []string {
	var all []string
	for _, field := range rows.FieldDescriptions() {
		all = append(all, field.Name)
	}
	return all
}

func amountOf(p *Phase) (amount int64) {
	Must(conn.QueryRow(ctx, "SELECT amount FROM orders WHERE id = $1", p.ID).Scan(&amount))
	return
}

func star(p *Phase, sql string, args ...any) []any {
	rows, err := conn.Query(ctx, sql, args...)
	Must(err)
	defer rows.Close()
	Check(len(names(rows)), len(p.Star))
	if !rows.Next() {
		Must(rows.Err())
		panic("no row")
	}
	values, err := rows.Values()
	Must(err)
	rows.Close()
	Must(rows.Err())
	return values
}

func prepared(p *Phase) {
	made := star(p, "INSERT INTO orders (amount, "+p.Column+") VALUES ($1, $2) RETURNING *", 41, p.Tag)
	p.ID = made[0].(int32)
	_, err := conn.Exec(ctx, "UPDATE orders SET amount = amount + $1 WHERE id = $2", 1, p.ID)
	Must(err)
	var amount int64
	var note string
	Must(conn.QueryRow(ctx, "SELECT amount, "+p.Column+" FROM orders WHERE id = $1", p.ID).Scan(&amount, &note))
	Check(amount, 42)
	Check(note, p.Tag)
	Check(star(p, "SELECT * FROM orders WHERE id = $1", p.ID), []any{p.ID, 42, p.Tag, nil})
	// One that it has not described before knows the present names.
	rows, err := conn.Query(ctx, "SELECT * FROM orders WHERE id = $1 /* "+p.Tag+" */", p.ID)
	Must(err)
	defer rows.Close()
	Check(names(rows), p.Star)
}

func null(p *Phase) {
	amount := new(int64)
	sql := "INSERT INTO orders (amount, " + p.Column + ") VALUES ($1, $2) RETURNING amount"
	Must(conn.QueryRow(ctx, sql, nil, p.Tag).Scan(&amount))
	Check(amount == nil, true)
}

func upsert(p *Phase) {
	sql := "INSERT INTO orders (id, amount, " + p.Column + ") VALUES ($1, $2, $3) " +
		"ON CONFLICT (id) DO UPDATE SET amount = excluded.amount + 1 RETURNING amount"
	var amount int64
	Must(conn.QueryRow(ctx, sql, p.ID, 5, p.Tag).Scan(&amount))
	Check(amount, 6)
}

func savepoint(p *Phase) {
	tx, err := conn.Begin(ctx)
	Must(err)
	defer tx.Rollback(ctx)
	_, err = tx.Exec(ctx, "UPDATE orders SET amount = 100 WHERE id = $1", p.ID)
	Must(err)
	nested, err := tx.Begin(ctx)
	Must(err)
	_, err = nested.Exec(ctx, "INSERT INTO orders (amount, "+p.Column+") VALUES ($1, $2)", 1, nil)
	var failure *pgconn.PgError
	Check(errors.As(err, &failure), true)
	Check(failure.Code, "23502")
	Must(nested.Rollback(ctx))
	Check(amountOf(p), 100)
	Must(tx.Rollback(ctx))
	Check(amountOf(p), 6)
}

func batch(p *Phase) {
	tag := p.Tag + " b"
	queue := &pgx.Batch{}
	for n := range 10 {
		queue.Queue("INSERT INTO orders (amount, "+p.Column+") VALUES ($1, $2) RETURNING id", n, tag)
	}
	queue.Queue("SELECT sum(amount)::int FROM orders WHERE "+p.Column+" = $1", tag)
	queue.Queue("SELECT amount FROM orders WHERE "+p.Column+" = $1 ORDER BY id LIMIT 1", tag)
	results := conn.SendBatch(ctx, queue)
	defer results.Close()
	var id, sum int32
	for range 10 {
		Must(results.QueryRow().Scan(&id))
	}
	Must(results.QueryRow().Scan(&sum))
	Check(sum, 45)
	var first int64
	Must(results.QueryRow().Scan(&first))
	Check(first, 0)
	Must(results.Close())
}

func copyInOut(p *Phase) {
	tag := p.Tag + " c"
	// It remembers the columns' types for as long as the connection lives, whoever alters them.
	other := connect()
	defer other.Close(ctx)
	rows := [][]any{{1, tag}, {2, tag}, {nil, tag}}
	_, err := other.CopyFrom(ctx, pgx.Identifier{"orders"}, []string{"amount", p.Column}, pgx.CopyFromRows(rows))
	Must(err)
	var out bytes.Buffer
	sql := "COPY (SELECT amount FROM orders WHERE " + p.Column + " = '" + tag + "' ORDER BY 1) TO STDOUT"
	_, err = conn.PgConn().CopyTo(ctx, &out, sql)
	Must(err)
	Check(out.String(), "1\n2\n\\N\n")
	out.Reset()
	_, err = conn.PgConn().CopyTo(ctx, &out, "COPY orders TO STDOUT")
	Must(err)
	line, _, _ := strings.Cut(out.String(), "\n")
	Check(len(strings.Split(line, "\t")), len(p.Star))
}

func cursor(p *Phase) {
	tx, err := conn.Begin(ctx)
	Must(err)
	defer tx.Rollback(ctx)
	_, err = tx.Exec(ctx, "DECLARE c CURSOR FOR SELECT * FROM orders WHERE "+p.Column+" = 'seed' ORDER BY id")
	Must(err)
	count := 0
	for {
		// Read as text, or what FETCH returned last time would be taken for what it returns now.
		rows, err := tx.Query(ctx, "FETCH 500 FROM c", pgx.QueryExecModeExec)
		Must(err)
		Check(names(rows), p.Star)
		before := count
		for rows.Next() {
			count++
		}
		Must(rows.Err())
		if count == before {
			break
		}
	}
	Check(count, 2000)
}

func large(p *Phase) {
	var payload string
	var id int32
	sql := "INSERT INTO orders (amount, " + p.Column + ", payload) VALUES (7, $1, $2) RETURNING id, payload"
	Must(conn.QueryRow(ctx, sql, p.Tag, Large).Scan(&id, &payload))
	Check(payload == Large, true)
	_, err := conn.Exec(ctx, "DELETE FROM orders WHERE id = $1", id)
	Must(err)
}

func wide(p *Phase) {
	var amount int64
	var id int32
	sql := "INSERT INTO orders (amount, " + p.Column + ") VALUES ($1, $2) RETURNING id, amount AS wide"
	Must(conn.QueryRow(ctx, sql, int64(3_000_000_000), p.Tag).Scan(&id, &amount))
	Check(amount, 3_000_000_000)
	_, err := conn.Exec(ctx, "DELETE FROM orders WHERE id = $1", id)
	Must(err)
}

func cancel(*Phase) {
	done := make(chan error)
	go func() {
		time.Sleep(100 * time.Millisecond)
		done <- conn.PgConn().CancelRequest(ctx)
	}()
	_, err := conn.Exec(ctx, "SELECT pg_sleep(30)")
	Must(<-done)
	var failure *pgconn.PgError
	Check(errors.As(err, &failure), true)
	Check(failure.Code, "57014")
}

func notify(p *Phase) {
	channel := "orders_" + mode
	_, err := conn.Exec(ctx, "LISTEN "+channel)
	Must(err)
	_, err = conn.Exec(ctx, "SELECT pg_notify($1, $2)", channel, p.Tag)
	Must(err)
	limited, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	notification, err := conn.WaitForNotification(limited)
	Must(err)
	Check(notification.Payload, p.Tag)
}

func reconnect(p *Phase) {
	other := connect()
	var amount int64
	Must(other.QueryRow(ctx, "SELECT amount FROM orders WHERE id = $1", p.ID).Scan(&amount))
	Check(amount, 6)
	Must(other.Close(ctx))
}

func main() {
	conn = connect()
	Run(Version("github.com/jackc/pgx/v5"), "pgx-"+mode, []Step{
		{"prepared", prepared},
		{"null", null},
		{"upsert", upsert},
		{"savepoint", savepoint},
		{"batch", batch},
		{"copy", copyInOut},
		{"cursor", cursor},
		{"large", large},
		{"wide", wide},
		{"cancel", cancel},
		{"notify", notify},
		{"reconnect", reconnect},
	}, func() { conn.Exec(ctx, "ROLLBACK") })
}
