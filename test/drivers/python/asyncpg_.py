"""asyncpg: binary throughout, statements cached and also prepared by hand before the migration."""

import asyncio
import os

import asyncpg

from scenario import LARGE, Phase, check, run_async

URL = os.environ["DATABASE_URL"]


async def main():
    conn = await asyncpg.connect(URL)
    by_hand = {}

    async def statement(sql):
        if sql not in by_hand:
            by_hand[sql] = await conn.prepare(sql)
        return by_hand[sql]

    async def prepared(p: Phase):
        row = await (
            await statement(f"INSERT INTO orders (amount, {p.column}) VALUES ($1, $2) RETURNING id")
        ).fetchrow(41, p.tag)
        p.id = row["id"]
        await (await statement("UPDATE orders SET amount = amount + $1 WHERE id = $2")).fetch(1, p.id)
        row = await (await statement(f"SELECT {p.column} FROM orders WHERE id = $1")).fetchrow(p.id)
        check(row[p.column], p.tag)

    async def cached(p: Phase):
        row = await conn.fetchrow(f"INSERT INTO orders (amount, {p.column}) VALUES ($1, $2) RETURNING *", 8, p.tag)
        check((len(row), row["amount"]), (len(p.star), 8))
        row = await conn.fetchrow("SELECT * FROM orders WHERE id = $1", p.id)
        check(tuple(row), (p.id, 42, p.tag, None))
        # One that it has not described before knows the present names.
        row = await conn.fetchrow(f"SELECT * FROM orders WHERE id = $1 /* {p.name} */", p.id)
        check(list(row.keys()), p.star, "SELECT *")
        check(await conn.fetchval("SELECT amount FROM orders WHERE id = $1", p.id), 42)

    async def by_hand_typed(p: Phase):
        row = await (await statement("SELECT amount, payload FROM orders WHERE id = $1")).fetchrow(p.id)
        check(tuple(row), (42, None))

    async def nulls(p: Phase):
        sql = f"INSERT INTO orders (amount, {p.column}) VALUES ($1, $2) RETURNING amount"
        check(await conn.fetchval(sql, None, p.tag), None)

    async def upsert(p: Phase):
        sql = (
            f"INSERT INTO orders (id, amount, {p.column}) VALUES ($1, $2, $3) "
            "ON CONFLICT (id) DO UPDATE SET amount = excluded.amount + 1 RETURNING amount"
        )
        check(await conn.fetchval(sql, p.id, 5, p.tag), 6)

    async def transaction(p: Phase):
        outer = conn.transaction()
        await outer.start()
        try:
            await conn.execute("UPDATE orders SET amount = 100 WHERE id = $1", p.id)
            try:
                async with conn.transaction():
                    await conn.execute(f"INSERT INTO orders (amount, {p.column}) VALUES ($1, $2)", 1, None)
                raise AssertionError("no error")
            except asyncpg.NotNullViolationError as error:
                check(error.sqlstate, "23502")
            check(await conn.fetchval("SELECT amount FROM orders WHERE id = $1", p.id), 100)
        finally:
            await outer.rollback()
        check(await conn.fetchval("SELECT amount FROM orders WHERE id = $1", p.id), 6)

    async def batch(p: Phase):
        tag = p.tag + " p"
        sql = f"INSERT INTO orders (amount, {p.column}) VALUES ($1, $2)"
        await conn.executemany(sql, [(n, tag) for n in range(500)])
        check(await conn.fetchval(f"SELECT sum(amount)::int FROM orders WHERE {p.column} = $1", tag), 124750)
        await conn.execute(f"DELETE FROM orders WHERE {p.column} = '{tag}'; SELECT 1")

    async def copy(p: Phase):
        tag = p.tag + " c"
        # It remembers the columns' types for as long as the connection lives, whoever alters them.
        other = await asyncpg.connect(URL)
        await other.copy_records_to_table(
            "orders", records=[(1, tag), (2, tag), (None, tag)], columns=["amount", p.column]
        )
        await other.close()
        chunks = []

        async def take(data):
            chunks.append(data)

        await conn.copy_from_query(
            f"SELECT amount FROM orders WHERE {p.column} = '{tag}' ORDER BY 1", output=take
        )
        check(b"".join(chunks), b"1\n2\n\\N\n")
        chunks.clear()
        await conn.copy_from_table("orders", output=take)
        lines = b"".join(chunks).split(b"\n")[:-1]
        check({len(line.split(b"\t")) for line in lines}, {len(p.star)})

    async def cursors(p: Phase):
        rows = []
        async with conn.transaction():
            sql = f"SELECT * FROM orders WHERE {p.column} = $1 ORDER BY id"
            async for row in conn.cursor(sql, "seed", prefetch=100):
                rows.append(row)
        check(len(rows), 2000)
        check(len(rows[0]), len(p.star))
        check(rows[1999]["amount"], 2000)

    async def large(p: Phase):
        sql = f"INSERT INTO orders (amount, {p.column}, payload) VALUES (7, $1, $2) RETURNING id, payload"
        row = await conn.fetchrow(sql, p.tag, LARGE)
        check(row["payload"] == LARGE, True)
        await conn.execute("DELETE FROM orders WHERE id = $1", row["id"])

    async def wide(p: Phase):
        if not p.wide:
            return False
        sql = f"INSERT INTO orders (amount, {p.column}) VALUES ($1, $2) RETURNING id, amount AS wide"
        row = await conn.fetchrow(sql, 3_000_000_000, p.tag)
        check(row["wide"], 3_000_000_000)
        await conn.execute("DELETE FROM orders WHERE id = $1", row["id"])

    async def cancel(p: Phase):
        try:
            await conn.execute("SELECT pg_sleep(30)", timeout=0.1)
            raise AssertionError("not cancelled")
        except asyncio.TimeoutError:
            check(await conn.fetchval("SELECT 1"), 1)

    async def notify(p: Phase):
        heard = loop.create_future()

        def told(connection, pid, channel, payload):
            if not heard.done():
                heard.set_result(payload)

        await conn.add_listener("orders_asyncpg", told)
        await conn.execute("SELECT pg_notify('orders_asyncpg', $1)", p.tag)
        check(await asyncio.wait_for(heard, 5), p.tag)
        await conn.remove_listener("orders_asyncpg", told)

    async def reconnect(p: Phase):
        other = await asyncpg.connect(URL)
        check(await other.fetchval("SELECT amount FROM orders WHERE id = $1", p.id), 6)
        await other.close()

    async def recover():
        """Every step ends its own transaction."""

    loop = asyncio.get_running_loop()
    steps = [
        ("prepared", prepared),
        ("cached statements", cached),
        ("typed result", by_hand_typed),
        ("null", nulls),
        ("upsert", upsert),
        ("savepoint", transaction),
        ("batch", batch),
        ("copy", copy),
        ("cursor", cursors),
        ("large", large),
        ("wide", wide),
        ("cancel", cancel),
        ("notify", notify),
        ("reconnect", reconnect),
    ]
    await run_async(asyncpg.__version__, "asyncpg", steps, recover)


asyncio.run(main())
