"""SQLAlchemy: core and ORM; MODE psycopg, or asyncpg behind its asynchronous engine."""

import asyncio
import os

import sqlalchemy
from sqlalchemy import Integer, BigInteger, Text, create_engine, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from scenario import LARGE, check, run, run_async

MODE = os.environ["MODE"]
URL = os.environ["DATABASE_URL"].replace("postgres://", f"postgresql+{MODE}://")


def model(column):
    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = "orders"
        id = mapped_column(Integer, primary_key=True)
        amount = mapped_column(BigInteger)
        note = mapped_column(column, Text, nullable=False)
        payload = mapped_column(Text)

    return Order


# The application is changed before the column's old name goes; until then nobody restarts it.
MODELS = {name: model(name) for name in ("note", "title")}


def core(conn, p):
    result = conn.execute(
        text(f"INSERT INTO orders (amount, {p.column}) VALUES (:amount, :tag) RETURNING *"), {"amount": 41, "tag": p.tag}
    )
    row = result.one()
    check(len(row), len(p.star))
    p.id = row[0]
    conn.execute(text("UPDATE orders SET amount = amount + :n WHERE id = :id"), {"n": 1, "id": p.id})
    result = conn.execute(text("SELECT * FROM orders WHERE id = :id"), {"id": p.id})
    check(tuple(result.one()), (p.id, 42, p.tag, None))
    # One that it has not described before knows the present names.
    result = conn.execute(text(f"SELECT * FROM orders WHERE id = :id /* {p.name.replace(':', '-')} */"), {"id": p.id})
    check(list(result.keys()), p.star, "SELECT *")
    result.all()
    conn.commit()


def orm(conn, p):
    Order = MODELS[p.column]
    with Session(bind=conn) as session:
        made = [Order(amount=n, note=p.tag + " o") for n in range(5)]
        made.append(Order(amount=None, note=p.tag + " o"))
        made.append(Order(amount=7, note=p.tag + " o", payload=LARGE))
        session.add_all(made)
        session.flush()
        made[0].amount = 50
        session.commit()
        amounts = session.scalars(select(Order.amount).where(Order.note == p.tag + " o").order_by(Order.id)).all()
        check(amounts, [50, 1, 2, 3, 4, None, 7])
        check(session.get(Order, made[6].id).payload == LARGE, True)
        session.delete(made[6])
        session.commit()


def upserts(conn, p):
    Order = MODELS[p.column]
    statement = upsert(Order).values(id=p.id, amount=5, note=p.tag)
    statement = statement.on_conflict_do_update(
        index_elements=["id"], set_={"amount": statement.excluded.amount + 1}
    ).returning(Order.amount)
    check(conn.execute(statement).scalar_one(), 6)
    conn.commit()


def batch(conn, p):
    Order = MODELS[p.column]
    tag = p.tag + " b"
    # One INSERT of many rows, whose keys come back.
    rows = [{"amount": n, p.column: tag} for n in range(100)]
    check(len(conn.execute(insert(Order).returning(Order.id), rows).all()), 100)
    conn.execute(update(Order).where(Order.note == tag).values(amount=Order.amount + 1))
    check(conn.execute(select(func.sum(Order.amount)).where(Order.note == tag)).scalar_one(), 5050)
    conn.rollback()


def savepoint(conn, p):
    Order = MODELS[p.column]
    conn.execute(update(Order).where(Order.id == p.id).values(amount=100))
    try:
        with conn.begin_nested():
            conn.execute(insert(Order).values(amount=1, note=None))
        raise AssertionError("no error")
    except IntegrityError as error:
        check(getattr(error.orig, "sqlstate", None), "23502")
    check(conn.execute(select(Order.amount).where(Order.id == p.id)).scalar_one(), 100)
    conn.rollback()
    check(conn.execute(select(Order.amount).where(Order.id == p.id)).scalar_one(), 6)
    conn.rollback()


def cursor(conn, p):
    Order = MODELS[p.column]
    query = select(Order.amount).where(Order.note == "seed").order_by(Order.id)
    options = {"stream_results": True, "yield_per": 100}
    rows = conn.execute(query, execution_options=options).all()
    check((len(rows), rows[1999][0]), (2000, 2000))
    conn.rollback()


def wide(conn, p):
    if not p.wide:
        return False
    Order = MODELS[p.column]
    query = insert(Order).values(amount=3_000_000_000, note=p.tag).returning(Order.id, Order.amount)
    row = conn.execute(query).one()
    check(row.amount, 3_000_000_000)
    conn.rollback()


def reflect(conn, p):
    table = sqlalchemy.Table("orders", sqlalchemy.MetaData(), autoload_with=conn)
    shown = [column for column in table.columns.keys() if column in p.star]
    check(sorted(shown), sorted(p.star), "reflected")
    conn.rollback()


STEPS = [
    ("text", core),
    ("ORM", orm),
    ("upsert", upserts),
    ("insertmanyvalues", batch),
    ("savepoint", savepoint),
    ("wide", wide),
    ("reflection", reflect),
]

if MODE == "psycopg":
    conn = create_engine(URL).connect()
    steps = [(name, lambda p, step=step: step(conn, p)) for name, step in [*STEPS, ("cursor", cursor)]]
    run(sqlalchemy.__version__, "sqlalchemy-psycopg", steps, conn.rollback)
else:

    async def main():
        conn = await create_async_engine(URL).connect()
        steps = []
        for name, step in STEPS:

            async def wrapped(p, step=step):
                return await conn.run_sync(step, p)

            steps.append((name, wrapped))
        await run_async(sqlalchemy.__version__, "sqlalchemy-asyncpg", steps, conn.rollback)

    asyncio.run(main())
