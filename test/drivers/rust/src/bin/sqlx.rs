//! sqlx: every statement is prepared by itself and kept, its parameters in types that it declares.

use drivers::{Failure, Outcome, Phase, check};
use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgListener, PgRow};
use sqlx::{AssertSqlSafe, Column, Connection, Executor, Row, TypeInfo};

struct App {
    url: String,
    db: PgConnection,
}

fn names(row: &PgRow) -> Vec<String> {
    row.columns().iter().map(|column| column.name().to_string()).collect()
}

/// A value of a column that is int4 or int8, by what the statement says.
fn value(row: &PgRow, at: usize) -> Result<Option<i64>, Failure> {
    if row.column(at).type_info().name() == "INT4" {
        return Ok(row.try_get::<Option<i32>, _>(at)?.map(i64::from));
    }
    Ok(row.try_get(at)?)
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.to_string())
}

async fn amount(db: &mut PgConnection, id: i32) -> Result<Option<i64>, Failure> {
    let row = sqlx::query("SELECT amount FROM orders WHERE id = $1").bind(id).fetch_one(db).await?;
    value(&row, 0)
}

impl App {
    async fn prepared(&mut self, p: &mut Phase) -> Outcome {
        let insert = format!("INSERT INTO orders (amount, {}) VALUES ($1, $2) RETURNING *", p.column);
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(41i32).bind(&p.tag);
        let row = insert.fetch_one(&mut self.db).await?;
        check(row.len(), p.star.len())?;
        p.id = row.try_get(0)?;
        check(value(&row, 1)?, Some(41))?;
        let up = sqlx::query("UPDATE orders SET amount = amount + $1 WHERE id = $2");
        check(up.bind(1i32).bind(p.id).execute(&mut self.db).await?.rows_affected(), 1)?;
        check(amount(&mut self.db, p.id).await?, Some(42))?;
        let star = sqlx::query("SELECT * FROM orders WHERE id = $1").bind(p.id);
        let row = star.fetch_one(&mut self.db).await?;
        check((row.len(), row.try_get::<String, _>(2)?), (p.star.len(), p.tag.clone()))
    }

    /// What it does not keep it describes each time, so that it knows the present names and types.
    async fn unkept(&mut self, p: &mut Phase) -> Outcome {
        let star = format!("SELECT * FROM orders WHERE id = $1 /* {} */", p.name.replace(':', "-"));
        let star = sqlx::query(AssertSqlSafe(star)).bind(p.id).persistent(false);
        let row = star.fetch_one(&mut self.db).await?;
        let kind = row.column(1).type_info().name().to_string();
        check((names(&row), kind.as_str()), (p.star.clone(), if p.wide { "INT8" } else { "INT4" }))
    }

    async fn simple(&mut self, p: &mut Phase) -> Outcome {
        let text = format!("UPDATE orders SET amount = 43 WHERE id = {0}; SELECT * FROM orders WHERE id = {0}", p.id);
        let row = sqlx::raw_sql(AssertSqlSafe(text)).fetch_one(&mut self.db).await?;
        check(names(&row), p.star.clone())?;
        check(amount(&mut self.db, p.id).await?, Some(43))
    }

    async fn null(&mut self, p: &mut Phase) -> Outcome {
        let insert = format!("INSERT INTO orders (amount, {}) VALUES ($1, $2) RETURNING amount", p.column);
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(None::<i32>).bind(&p.tag);
        check(value(&insert.fetch_one(&mut self.db).await?, 0)?, None)
    }

    async fn upsert(&mut self, p: &mut Phase) -> Outcome {
        let upsert = format!(
            "INSERT INTO orders (id, amount, {}) VALUES ($1, 5, $2)
             ON CONFLICT (id) DO UPDATE SET amount = excluded.amount + 1 RETURNING amount",
            p.column
        );
        let upsert = sqlx::query(AssertSqlSafe(upsert)).bind(p.id).bind(&p.tag);
        check(value(&upsert.fetch_one(&mut self.db).await?, 0)?, Some(6))
    }

    /// One INSERT of many rows from two arrays.
    async fn unnest(&mut self, p: &mut Phase) -> Outcome {
        let tag = format!("{} u", p.tag);
        let insert = format!(
            "INSERT INTO orders (amount, {}) SELECT n, $2 FROM unnest($1::int[]) n RETURNING id",
            p.column
        );
        let numbers: Vec<i32> = (0..100).collect();
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(numbers).bind(&tag);
        check(insert.fetch_all(&mut self.db).await?.len(), 100)?;
        let sum = format!("SELECT sum(amount)::int4 FROM orders WHERE {} = $1", p.column);
        let sum = sqlx::query_scalar::<_, i32>(AssertSqlSafe(sum)).bind(&tag);
        check(sum.fetch_one(&mut self.db).await?, 4950)
    }

    async fn savepoint(&mut self, p: &mut Phase) -> Outcome {
        let mut outer = self.db.begin().await?;
        let up = sqlx::query("UPDATE orders SET amount = 100 WHERE id = $1");
        up.bind(p.id).execute(&mut *outer).await?;
        let mut nested = outer.begin().await?;
        let insert = format!("INSERT INTO orders (amount, {}) VALUES (1, $1)", p.column);
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(None::<String>);
        let error = insert.execute(&mut *nested).await.err().ok_or("no error")?;
        check(sqlstate(&error).as_deref(), Some("23502"))?;
        nested.rollback().await?;
        check(amount(&mut outer, p.id).await?, Some(100))?;
        outer.rollback().await?;
        check(amount(&mut self.db, p.id).await?, Some(6))
    }

    async fn stream(&mut self, p: &mut Phase) -> Outcome {
        let select = format!("SELECT * FROM orders WHERE {} = 'seed' ORDER BY id", p.column);
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut self.db);
        let (mut count, mut last) = (0, None);
        while let Some(row) = rows.try_next().await? {
            count += 1;
            last = value(&row, 1)?;
        }
        check((count, last), (2000, Some(2000)))
    }

    async fn copy(&mut self, p: &mut Phase) -> Outcome {
        let tag = format!("{} c", p.tag);
        let into = format!("COPY orders (amount, {}) FROM STDIN", p.column);
        let mut copy = self.db.copy_in_raw(&into).await?;
        copy.send(format!("1\t{tag}\n2\t{tag}\n\\N\t{tag}\n").into_bytes()).await?;
        check(copy.finish().await?, 3)?;
        let out = format!("COPY (SELECT amount FROM orders WHERE {} = '{tag}' ORDER BY 1) TO STDOUT", p.column);
        check(self.copied(&out).await?, "1\n2\n\\N\n".to_string())?;
        let all = self.copied("COPY orders TO STDOUT").await?;
        check(all.lines().next().map(|line| line.split('\t').count()), Some(p.star.len()))
    }

    async fn copied(&mut self, text: &str) -> Result<String, Failure> {
        let chunks: Vec<bytes::Bytes> = self.db.copy_out_raw(text).await?.try_collect().await?;
        Ok(String::from_utf8(chunks.concat())?)
    }

    async fn large(&mut self, p: &mut Phase) -> Outcome {
        let large = "x".repeat(2 << 20);
        let insert =
            format!("INSERT INTO orders (amount, {}, payload) VALUES (7, $1, $2) RETURNING id, payload", p.column);
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(&p.tag).bind(&large);
        let row = insert.fetch_one(&mut self.db).await?;
        check(row.try_get::<&str, _>(1)? == large, true)?;
        let delete = sqlx::query("DELETE FROM orders WHERE id = $1").bind(row.try_get::<i32, _>(0)?);
        delete.execute(&mut self.db).await?;
        Ok(())
    }

    async fn wide(&mut self, p: &mut Phase) -> Outcome {
        let insert = format!("INSERT INTO orders (amount, {}) VALUES ($1::int8, $2) RETURNING id, amount", p.column);
        let insert = sqlx::query(AssertSqlSafe(insert)).bind(3_000_000_000i64).bind(&p.tag);
        let row = insert.fetch_one(&mut self.db).await?;
        check(value(&row, 1)?, Some(3_000_000_000))?;
        let delete = sqlx::query("DELETE FROM orders WHERE id = $1").bind(row.try_get::<i32, _>(0)?);
        delete.execute(&mut self.db).await?;
        Ok(())
    }

    async fn notify(&mut self, p: &mut Phase) -> Outcome {
        let mut listener = PgListener::connect(&self.url).await?;
        listener.listen("orders_sqlx").await?;
        let notify = sqlx::query("SELECT pg_notify('orders_sqlx', $1)").bind(&p.tag);
        notify.execute(&mut self.db).await?;
        let limit = std::time::Duration::from_secs(5);
        let heard = tokio::time::timeout(limit, listener.recv()).await??;
        check(heard.payload(), p.tag.as_str())
    }

    async fn reconnect(&mut self, p: &mut Phase) -> Outcome {
        let mut other = PgConnection::connect(&self.url).await?;
        check(amount(&mut other, p.id).await?, Some(6))?;
        other.close().await?;
        Ok(())
    }
}

impl drivers::App for App {
    async fn run(&mut self, feature: &str, p: &mut Phase) -> Outcome {
        match feature {
            "prepared" => self.prepared(p).await,
            "unkept" => self.unkept(p).await,
            "simple" => self.simple(p).await,
            "null" => self.null(p).await,
            "upsert" => self.upsert(p).await,
            "unnest" => self.unnest(p).await,
            "savepoint" => self.savepoint(p).await,
            "stream" => self.stream(p).await,
            "copy" => self.copy(p).await,
            "large" => self.large(p).await,
            "wide" => self.wide(p).await,
            "notify" => self.notify(p).await,
            _ => self.reconnect(p).await,
        }
    }

    async fn recover(&mut self) {
        let _ = self.db.execute("ROLLBACK").await;
    }
}

const FEATURES: [&str; 13] = [
    "prepared", "unkept", "simple", "null", "upsert", "unnest", "savepoint", "stream", "copy", "large", "wide",
    "notify", "reconnect",
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let url = std::env::var("DATABASE_URL")?;
    let db = PgConnection::connect(&url).await?;
    drivers::converse("sqlx", env!("SQLX_VERSION"), &FEATURES, &mut App { url, db }).await
}
