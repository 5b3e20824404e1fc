//! A large made-up database to try commands on, or the same as CSV.
//!
//! `cargo run --release --example generate -- PATH COUNT`: a path that ends in `.csv` becomes a CSV file, any other a
//! database.

#![allow(clippy::print_stdout, reason = "a program speaks")]

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

use benchdb::exchange::{Exporter as _, OwnCsv};
use benchdb::store::{Access, Store};

#[path = "../benches/generated/mod.rs"]
mod generated;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, count] = arguments.as_slice() else {
        return Err("usage: generate PATH COUNT".into());
    };
    let path = Path::new(path);
    let generated = generated::Generated::new(count.parse()?);
    let begun = Instant::now();
    if path.extension().is_some_and(|ending| ending == "csv") {
        let mut out = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        OwnCsv.begin(&mut out)?;
        for (index, run) in generated.runs().enumerate() {
            OwnCsv.write(&mut out, i64::try_from(index)? + 1, &run)?;
        }
        OwnCsv.end(&mut out)?;
    } else {
        let (mut store, _) = Store::open(path, Access::Create)?;
        store.insert_runs(generated.runs())?;
    }
    println!("made {count} runs in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}
