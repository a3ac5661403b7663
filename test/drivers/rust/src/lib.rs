//! The dialogue with the runner.

use std::fmt::Debug;
use std::io::BufRead;

pub type Failure = Box<dyn std::error::Error>;
pub type Outcome = Result<(), Failure>;

pub struct Phase {
    pub name: String,
    pub column: String,
    pub star: Vec<String>,
    pub wide: bool,
    pub tag: String,
    pub id: i32,
}

pub fn check<T: PartialEq + Debug>(actual: T, expected: T) -> Outcome {
    if actual == expected {
        return Ok(());
    }
    Err(format!("{actual:.200?} is not {expected:.200?}").into())
}

#[allow(async_fn_in_trait)]
pub trait App {
    async fn run(&mut self, feature: &str, phase: &mut Phase) -> Outcome;
    /// Ends a transaction that a failed feature has left open.
    async fn recover(&mut self);
}

/// A feature that fails does not keep the others from being used.
pub async fn converse(driver: &str, version: &str, features: &[&str], app: &mut impl App) -> Outcome {
    println!("ready {version}");
    let (tell, mut lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    while let Some(line) = lines.recv().await {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut phase = Phase {
            name: words[1].into(),
            column: words[2].into(),
            star: words[3].split(',').map(String::from).collect(),
            wide: words[4] == "wide",
            tag: format!("{driver} {}", words[1]),
            id: 0,
        };
        let (mut done, mut errors) = (vec![], vec![]);
        let wide = phase.wide;
        for feature in features.iter().filter(|feature| wide || **feature != "wide") {
            match app.run(feature, &mut phase).await {
                Ok(()) => done.push(*feature),
                Err(error) => {
                    let source = error.source().map(|source| format!(" ({source})")).unwrap_or_default();
                    errors.push(format!("{feature}: {error}{source}").replace('\n', " "));
                    app.recover().await;
                }
            }
        }
        if errors.is_empty() {
            println!("ok {}", done.join(","));
        } else {
            println!("error: {}", errors.join("; "));
        }
    }
    Ok(())
}
