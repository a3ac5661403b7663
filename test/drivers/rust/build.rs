//! Which versions of the drivers the lock file names.
fn main() {
    let lock = std::fs::read_to_string("Cargo.lock").unwrap();
    for (name, variable) in [("tokio-postgres", "TOKIO_POSTGRES_VERSION"), ("sqlx", "SQLX_VERSION")] {
        let after = lock.split(&format!("name = \"{name}\"")).nth(1).unwrap();
        println!("cargo:rustc-env={variable}={}", after.split('"').nth(1).unwrap());
    }
    println!("cargo:rerun-if-changed=Cargo.lock");
}
