"""psycopg 3: MODE text or binary (results and parameters)."""

import os
import threading

import psycopg
from psycopg import errors

from scenario import LARGE, Phase, check, run

URL = os.environ["DATABASE_URL"]
BINARY = os.environ["MODE"] == "binary"


def connect():
    # Prepared on the server at first use, so that each statement is older than the phase.
    connection = psycopg.connect(URL, autocommit=True, prepare_threshold=0)
    return connection


conn = connect()


def execute(sql, params=()):
    return conn.execute(sql, params, binary=BINARY)


def cursor(name=None):
    return conn.cursor(name, binary=BINARY) if name else conn.cursor(binary=BINARY)


def names(cur):
    return [column.name for column in cur.description]


def prepared(p: Phase):
    cur = execute(f"INSERT INTO orders (amount, {p.column}) VALUES (%s, %s) RETURNING *", (41, p.tag))
    check(names(cur), p.star, "RETURNING *")
    row = cur.fetchone()
    check(row[1:3], (41, p.tag))
    p.id = row[0]
    check(execute("UPDATE orders SET amount = amount + %s WHERE id = %s", (1, p.id)).rowcount, 1)
    cur = execute(f"SELECT amount, {p.column} FROM orders WHERE id = %s", (p.id,))
    check(cur.fetchone(), (42, p.tag))
    cur = execute("SELECT * FROM orders WHERE id = %s", (p.id,))
    check(names(cur), p.star, "SELECT *")
    check(cur.fetchone(), (p.id, 42, p.tag, None))


def nulls(p: Phase):
    row = execute(f"INSERT INTO orders (amount, {p.column}) VALUES (%s, %s) RETURNING amount", (None, p.tag)).fetchone()
    check(row, (None,))


def upsert(p: Phase):
    row = execute(
        f"INSERT INTO orders (id, amount, {p.column}) VALUES (%s, %s, %s) "
        "ON CONFLICT (id) DO UPDATE SET amount = excluded.amount + 1 RETURNING amount",
        (p.id, 5, p.tag),
    ).fetchone()
    check(row, (6,))


def transaction(p: Phase):
    try:
        with conn.transaction():
            execute("UPDATE orders SET amount = 100 WHERE id = %s", (p.id,))
            try:
                with conn.transaction():
                    execute(f"INSERT INTO orders (amount, {p.column}) VALUES (%s, %s)", (1, None))
                raise AssertionError("no error")
            except errors.NotNullViolation as error:
                check(error.sqlstate, "23502")
            check(execute("SELECT amount FROM orders WHERE id = %s", (p.id,)).fetchone(), (100,))
            raise psycopg.Rollback
    except psycopg.Rollback:
        pass
    check(execute("SELECT amount FROM orders WHERE id = %s", (p.id,)).fetchone(), (6,))


def pipeline(p: Phase):
    with conn.pipeline():
        made = [
            execute(f"INSERT INTO orders (amount, {p.column}) VALUES (%s, %s) RETURNING id", (n, p.tag + " p"))
            for n in range(10)
        ]
        total = execute(f"SELECT sum(amount)::int FROM orders WHERE {p.column} = %s", (p.tag + " p",))
        check(total.fetchone(), (45,))
        check(len({cur.fetchone()[0] for cur in made}), 10)
    with cursor() as cur:
        cur.executemany(
            f"UPDATE orders SET amount = amount + %s WHERE {p.column} = %s", [(1, p.tag + " p")] * 3
        )
        check(cur.rowcount, 30)


def copy(p: Phase):
    tag = p.tag + " c"
    with cursor() as cur:
        with cur.copy(f"COPY orders (amount, {p.column}) FROM STDIN" + (" (FORMAT binary)" if BINARY else "")) as copy:
            # Binary fields carry no type: they have to be the column's own.
            copy.set_types(["int8" if p.wide else "int4", "text"])
            for n in (1, 2, None):
                copy.write_row((n, tag))
        with cur.copy(f"COPY (SELECT amount FROM orders WHERE {p.column} = '{tag}' ORDER BY 1) TO STDOUT") as copy:
            check([row[0] for row in copy.rows()], ["1", "2", None])
        with cur.copy("COPY orders TO STDOUT") as copy:
            check({len(row) for row in copy.rows()}, {len(p.star)})


def cursors(p: Phase):
    with conn.transaction(), cursor("c") as cur:
        cur.itersize = 100
        cur.execute(f"SELECT * FROM orders WHERE {p.column} = %s ORDER BY id", ("seed",))
        rows = list(cur)
        check(names(cur), p.star, "cursor")
        check(len(rows), 2000)
        check(rows[1999][1], 2000)


def large(p: Phase):
    row = execute(
        f"INSERT INTO orders (amount, {p.column}, payload) VALUES (7, %s, %s) RETURNING id, payload", (p.tag, LARGE)
    ).fetchone()
    check(row[1] == LARGE, True)
    execute("DELETE FROM orders WHERE id = %s", (row[0],))


def wide(p: Phase):
    if not p.wide:
        return False
    row = execute(
        f"INSERT INTO orders (amount, {p.column}) VALUES (%s, %s) RETURNING id, amount", (3_000_000_000, p.tag)
    ).fetchone()
    check(row[1], 3_000_000_000)
    execute("DELETE FROM orders WHERE id = %s", (row[0],))


def cancel(p: Phase):
    timer = threading.Timer(0.1, conn.cancel_safe)
    timer.start()
    try:
        execute("SELECT pg_sleep(30)")
        raise AssertionError("not cancelled")
    except errors.QueryCanceled:
        pass
    finally:
        timer.join()


def notify(p: Phase):
    channel = f"orders_{os.environ['MODE']}"
    execute(f"LISTEN {channel}")
    execute("SELECT pg_notify(%s, %s)", (channel, p.tag))
    for notice in conn.notifies(timeout=5, stop_after=1):
        check(notice.payload, p.tag)
        return
    raise AssertionError("no notification")


def reconnect(p: Phase):
    with connect() as other:
        check(other.execute("SELECT amount FROM orders WHERE id = %s", (p.id,)).fetchone(), (6,))


STEPS = [
    ("prepared", prepared),
    ("null", nulls),
    ("upsert", upsert),
    ("savepoint", transaction),
    ("pipeline", pipeline),
    ("copy", copy),
    ("cursor", cursors),
    ("large", large),
    ("wide", wide),
    ("cancel", cancel),
    ("notify", notify),
    ("reconnect", reconnect),
]
run(psycopg.__version__, f"psycopg-{os.environ['MODE']}", STEPS, conn.rollback)
