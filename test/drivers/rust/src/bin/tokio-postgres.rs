//! tokio-postgres: binary throughout, statements prepared once, requests pipelined.

use drivers::{Failure, Outcome, Phase, check};
use futures_util::{SinkExt, TryStreamExt, future, pin_mut};
use std::collections::HashMap;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, NoTls, Statement};

struct App {
    url: String,
    client: Client,
    statements: HashMap<String, Statement>,
    heard: tokio::sync::mpsc::UnboundedReceiver<String>,
}

impl App {
    async fn open(url: &str) -> Result<App, Failure> {
        let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
        let (tell, heard) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = future::poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message {
                    let _ = tell.send(notification.payload().to_string());
                }
            }
        });
        Ok(App { url: url.into(), client, statements: HashMap::new(), heard })
    }

    async fn statement(&mut self, text: &str) -> Result<Statement, Failure> {
        if !self.statements.contains_key(text) {
            let made = self.client.prepare(text).await?;
            self.statements.insert(text.into(), made);
        }
        Ok(self.statements[text].clone())
    }

    /// A parameter in the type that the statement has for it, and a result in the one it had.
    async fn amount(&mut self, id: i32) -> Result<Option<i64>, Failure> {
        let statement = self.statement("SELECT amount FROM orders WHERE id = $1").await?;
        let row = self.client.query_one(&statement, &[&id]).await?;
        value(&row, 0)
    }

    async fn prepared(&mut self, p: &mut Phase) -> Outcome {
        let text = format!("INSERT INTO orders (amount, {}) VALUES ($1, $2) RETURNING *", p.column);
        let insert = self.statement(&text).await?;
        let amount = number(&insert, 0, 41);
        let row = self.client.query_one(&insert, &[&*amount, &p.tag]).await?;
        check(row.len(), p.star.len())?;
        p.id = row.get(0);
        check(value(&row, 1)?, Some(41))?;
        let up = self.statement("UPDATE orders SET amount = amount + $1 WHERE id = $2").await?;
        let one = number(&up, 0, 1);
        check(self.client.execute(&up, &[&*one, &p.id]).await?, 1)?;
        check(self.amount(p.id).await?, Some(42))?;
        let star = self.statement("SELECT * FROM orders WHERE id = $1").await?;
        let row = self.client.query_one(&star, &[&p.id]).await?;
        check((row.len(), row.get::<_, String>(2)), (p.star.len(), p.tag.clone()))?;
        // One that it has not described before knows the present names.
        let row = self.client.query_one("SELECT * FROM orders WHERE id = $1", &[&p.id]).await?;
        let names: Vec<_> = row.columns().iter().map(|column| column.name().to_string()).collect();
        check(names, p.star.clone())
    }

    async fn null(&mut self, p: &mut Phase) -> Outcome {
        let text = format!("INSERT INTO orders (amount, {}) VALUES (NULL, $1) RETURNING amount", p.column);
        let insert = self.statement(&text).await?;
        let row = self.client.query_one(&insert, &[&p.tag]).await?;
        check(value(&row, 0)?, None)
    }

    async fn upsert(&mut self, p: &mut Phase) -> Outcome {
        let text = format!(
            "INSERT INTO orders (id, amount, {}) VALUES ($1, 5, $2)
             ON CONFLICT (id) DO UPDATE SET amount = excluded.amount + 1 RETURNING amount",
            p.column
        );
        let upsert = self.statement(&text).await?;
        let row = self.client.query_one(&upsert, &[&p.id, &p.tag]).await?;
        check(value(&row, 0)?, Some(6))
    }

    async fn savepoint(&mut self, p: &mut Phase) -> Outcome {
        let select = self.statement("SELECT amount FROM orders WHERE id = $1").await?;
        let mut outer = self.client.transaction().await?;
        outer.execute("UPDATE orders SET amount = 100 WHERE id = $1", &[&p.id]).await?;
        let nested = outer.transaction().await?;
        let text = format!("INSERT INTO orders (amount, {}) VALUES (1, $1)", p.column);
        let nothing: Option<&str> = None;
        let error = nested.execute(&text, &[&nothing]).await.err().ok_or("no error")?;
        check(error.code().map(|code| code.code()), Some("23502"))?;
        nested.rollback().await?;
        check(value(&outer.query_one(&select, &[&p.id]).await?, 0)?, Some(100))?;
        outer.rollback().await?;
        check(self.amount(p.id).await?, Some(6))
    }

    async fn pipeline(&mut self, p: &mut Phase) -> Outcome {
        let tag = format!("{} p", p.tag);
        let insert = format!("INSERT INTO orders (amount, {}) VALUES ($1, $2) RETURNING id", p.column);
        let insert = self.statement(&insert).await?;
        let sum = format!("SELECT sum(amount)::int4 FROM orders WHERE {} = $1", p.column);
        let sum = self.statement(&sum).await?;
        let values: Vec<_> = (0..10).map(|n| number(&insert, 0, n)).collect();
        let params: Vec<[&(dyn ToSql + Sync); 2]> = values.iter().map(|n| [&**n, &tag as _]).collect();
        let inserts = future::try_join_all(params.iter().map(|p| self.client.query_one(&insert, p)));
        let last: [&(dyn ToSql + Sync); 1] = [&tag];
        let (made, total) = future::try_join(inserts, self.client.query_one(&sum, &last)).await?;
        check((made.len(), total.get::<_, i32>(0)), (10, 45))
    }

    async fn copy(&mut self, p: &mut Phase) -> Outcome {
        let tag = format!("{} c", p.tag);
        let sink = self.client.copy_in(&format!("COPY orders (amount, {}) FROM STDIN", p.column)).await?;
        pin_mut!(sink);
        sink.send(bytes::Bytes::from(format!("1\t{tag}\n2\t{tag}\n\\N\t{tag}\n"))).await?;
        check(sink.finish().await?, 3)?;
        let text = format!("COPY (SELECT amount FROM orders WHERE {} = '{tag}' ORDER BY 1) TO STDOUT", p.column);
        check(self.copied(&text).await?, "1\n2\n\\N\n".to_string())?;
        let all = self.copied("COPY orders TO STDOUT").await?;
        check(all.lines().next().map(|line| line.split('\t').count()), Some(p.star.len()))
    }

    async fn copied(&self, text: &str) -> Result<String, Failure> {
        let chunks: Vec<bytes::Bytes> = self.client.copy_out(text).await?.try_collect().await?;
        Ok(String::from_utf8(chunks.concat())?)
    }

    async fn portal(&mut self, p: &mut Phase) -> Outcome {
        let text = format!("SELECT * FROM orders WHERE {} = 'seed' ORDER BY id", p.column);
        let select = self.statement(&text).await?;
        let transaction = self.client.transaction().await?;
        let portal = transaction.bind(&select, &[]).await?;
        let (mut count, mut last) = (0, None);
        loop {
            let rows = transaction.query_portal(&portal, 300).await?;
            if rows.is_empty() {
                break;
            }
            count += rows.len();
            last = value(&rows[rows.len() - 1], 1)?;
        }
        transaction.commit().await?;
        check((count, last), (2000, Some(2000)))
    }

    async fn large(&mut self, p: &mut Phase) -> Outcome {
        let large = "x".repeat(2 << 20);
        let text = format!("INSERT INTO orders (amount, {}, payload) VALUES (7, $1, $2) RETURNING id, payload, amount", p.column);
        let insert = self.statement(&text).await?;
        let row = self.client.query_one(&insert, &[&p.tag, &large]).await?;
        check(row.get::<_, &str>(1) == large, true)?;
        check(value(&row, 2)?, Some(7))?;
        self.client.execute("DELETE FROM orders WHERE id = $1", &[&row.get::<_, i32>(0)]).await?;
        Ok(())
    }

    async fn wide(&mut self, p: &mut Phase) -> Outcome {
        let text = format!("INSERT INTO orders (amount, {}) VALUES ($1, $2) RETURNING id, amount", p.column);
        let row = self.client.query_one(&text, &[&3_000_000_000i64, &p.tag]).await?;
        check(row.get::<_, i64>(1), 3_000_000_000)?;
        self.client.execute("DELETE FROM orders WHERE id = $1", &[&row.get::<_, i32>(0)]).await?;
        Ok(())
    }

    async fn cancel(&mut self) -> Outcome {
        let token = self.client.cancel_token();
        let cancel = async {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            token.cancel_query(NoTls).await
        };
        let (slept, cancelled) = future::join(self.client.batch_execute("SELECT pg_sleep(30)"), cancel).await;
        cancelled?;
        let error = slept.err().ok_or("not cancelled")?;
        check(error.code().map(|code| code.code()), Some("57014"))
    }

    async fn notify(&mut self, p: &mut Phase) -> Outcome {
        self.client.batch_execute("LISTEN orders_rust").await?;
        self.client.execute("SELECT pg_notify('orders_rust', $1)", &[&p.tag]).await?;
        let limit = std::time::Duration::from_secs(5);
        check(tokio::time::timeout(limit, self.heard.recv()).await?, Some(p.tag.clone()))
    }

    async fn reconnect(&mut self, p: &mut Phase) -> Outcome {
        let mut other = Box::pin(App::open(&self.url)).await?;
        check(other.amount(p.id).await?, Some(6))
    }
}

/// A value of a column that is int4 or int8, by what the statement says.
fn value(row: &tokio_postgres::Row, at: usize) -> Result<Option<i64>, Failure> {
    if *row.columns()[at].type_() == Type::INT4 {
        return Ok(row.try_get::<_, Option<i32>>(at)?.map(i64::from));
    }
    Ok(row.try_get(at)?)
}

fn number(statement: &Statement, at: usize, n: i32) -> Box<dyn ToSql + Sync> {
    if statement.params()[at] == Type::INT4 { Box::new(n) } else { Box::new(i64::from(n)) }
}

const FEATURES: [&str; 12] = [
    "prepared", "null", "upsert", "savepoint", "pipeline", "copy", "cursor", "large", "wide", "cancel",
    "notify", "reconnect",
];

impl drivers::App for App {
    async fn run(&mut self, feature: &str, p: &mut Phase) -> Outcome {
        match feature {
            "prepared" => self.prepared(p).await,
            "null" => self.null(p).await,
            "upsert" => self.upsert(p).await,
            "savepoint" => self.savepoint(p).await,
            "pipeline" => self.pipeline(p).await,
            "copy" => self.copy(p).await,
            "cursor" => self.portal(p).await,
            "large" => self.large(p).await,
            "wide" => self.wide(p).await,
            "cancel" => self.cancel().await,
            "notify" => self.notify(p).await,
            _ => self.reconnect(p).await,
        }
    }

    async fn recover(&mut self) {
        let _ = self.client.batch_execute("ROLLBACK").await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut app = App::open(&std::env::var("DATABASE_URL")?).await?;
    drivers::converse("tokio-postgres", env!("TOKIO_POSTGRES_VERSION"), &FEATURES, &mut app).await
}
