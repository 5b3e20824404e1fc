//! benchdb measures how fast, how big and how thirsty neural networks are on the hardware that you have, keeps every
//! measurement in one SQLite file, and answers from the record.
//!
//! The program `benchdb` is a thin layer over this library; `examples/measure.rs` does its main job in some twenty lines:
//! [`engine::plan`] makes a plan, [`engine::Runner`] measures it run by run in worker processes, [`store::Store`] keeps
//! the results and reads them back.
//!
//! Imports go down only; `tests/it/layers.rs` holds it. What explains: [`explain`] (attribution methods, on [`zoo`] alone),
//! [`cache`] (attributions on disk, as [`exchange`] writes them), [`heatmap`] (attributions as pictures; it knows nothing but
//! [`domain`]). `engine` times explanations, `commands` joins the three. What shows: [`report`] (tables, charts and pages from
//! plain data) and [`serve`] (HTTP: who may ask, and how answers go out; it knows neither pages nor the database).

pub mod analysis;
pub mod cache;
pub mod cli;
pub mod commands;
pub mod dataset;
pub mod domain;
pub mod engine;
pub mod exchange;
pub mod explain;
pub mod hardware;
pub mod heatmap;
pub mod measure;
pub mod onnx;
pub mod optimize;
pub mod predict;
pub mod report;
pub mod serve;
pub mod stats;
pub mod store;
pub mod zoo;
