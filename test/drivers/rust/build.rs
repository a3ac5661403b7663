//! Which version of the driver the lock file names.
fn main() {
    let lock = std::fs::read_to_string("Cargo.lock").unwrap();
    let after = lock.split("name = \"tokio-postgres\"").nth(1).unwrap();
    println!("cargo:rustc-env=DRIVER_VERSION={}", after.split('"').nth(1).unwrap());
    println!("cargo:rerun-if-changed=Cargo.lock");
}
