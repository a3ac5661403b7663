"""Django's ORM on psycopg 3, with server-side binding."""

import os
from urllib.parse import urlparse

import django
from django.conf import settings

from scenario import LARGE, check, run

url = urlparse(os.environ["DATABASE_URL"])
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path[1:],
            "USER": url.username,
            "HOST": url.hostname,
            "PORT": url.port,
            "CONN_MAX_AGE": None,
            "OPTIONS": {"server_side_binding": True},
        }
    },
    USE_TZ=True,
)
django.setup()

from django.db import IntegrityError, connection, models, transaction  # noqa: E402


def model(column):
    class Order(models.Model):
        id = models.AutoField(primary_key=True)
        amount = models.BigIntegerField(null=True)
        note = models.TextField(db_column=column)
        payload = models.TextField(null=True)

        class Meta:
            app_label = f"app_{column}"
            db_table = "orders"
            managed = False

    return Order


MODELS = {name: model(name) for name in ("note", "title")}


def objects(p):
    return MODELS[p.column].objects


def orm(p):
    row = objects(p).create(amount=41, note=p.tag)
    p.id = row.id
    check(objects(p).filter(id=p.id).update(amount=models.F("amount") + 1), 1)
    row.refresh_from_db()
    check((row.amount, row.note, row.payload), (42, p.tag, None))
    row.amount = None
    row.save()
    check(objects(p).get(id=p.id).amount, None)
    row.amount = 5
    row.save()


def raw(p):
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM orders WHERE id = %s", [p.id])
        check([column.name for column in cursor.description], p.star, "SELECT *")
        check(cursor.fetchone()[1], 5)


def bulk(p):
    tag = p.tag + " b"
    made = objects(p).bulk_create([MODELS[p.column](amount=n, note=tag) for n in range(100)])
    for each in made:
        each.amount += 1
    objects(p).bulk_update(made, ["amount"])
    check(objects(p).filter(note=tag).aggregate(total=models.Sum("amount"))["total"], 5050)
    objects(p).filter(note=tag).delete()


def upsert(p):
    objects(p).bulk_create(
        [MODELS[p.column](id=p.id, amount=6, note=p.tag)],
        update_conflicts=True,
        update_fields=["amount"],
        unique_fields=["id"],
    )
    check(objects(p).get(id=p.id).amount, 6)


def savepoint(p):
    with transaction.atomic():
        objects(p).select_for_update().filter(id=p.id).update(amount=100)
        try:
            with transaction.atomic():
                objects(p).create(amount=1, note=None)
            raise AssertionError("no error")
        except IntegrityError as error:
            check(error.__cause__.sqlstate, "23502")
        check(objects(p).get(id=p.id).amount, 100)
        transaction.set_rollback(True)
    check(objects(p).get(id=p.id).amount, 6)


def cursor(p):
    amounts = [row.amount for row in objects(p).filter(note="seed").order_by("id").iterator(chunk_size=100)]
    check((len(amounts), amounts[1999]), (2000, 2000))


def large(p):
    row = objects(p).create(amount=7, note=p.tag, payload=LARGE)
    check(objects(p).get(id=row.id).payload == LARGE, True)
    row.delete()


def wide(p):
    if not p.wide:
        return False
    row = objects(p).create(amount=3_000_000_000, note=p.tag)
    check(objects(p).get(id=row.id).amount, 3_000_000_000)
    row.delete()


STEPS = [
    ("ORM", orm),
    ("raw SELECT *", raw),
    ("bulk", bulk),
    ("upsert", upsert),
    ("savepoint", savepoint),
    ("server-side cursor", cursor),
    ("large", large),
    ("wide", wide),
]
connection.ensure_connection()
run(django.get_version(), "django", STEPS, connection.rollback)
