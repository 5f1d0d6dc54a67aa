//! The command `bertology`, driven as users drive it: arguments in; files, text and exit codes out.
#![allow(clippy::unwrap_used)]

mod ablate;
mod advice;
mod any_head;
mod assumed;
mod attention_probe;
mod bench;
mod cat;
mod cat_tree;
mod cluster;
mod compress;
mod damaged;
mod demo_edge;
mod devices;
mod distance;
#[cfg(unix)]
mod documents;
mod dynamics;
mod edge_controls;
mod edge_data;
mod edge_options;
mod edge_probe;
mod export;
mod extract;
mod finetune;
mod goals;
mod harness;
mod hostile;
mod hub;
mod inputs;
#[cfg(unix)]
mod interrupted;
mod judge;
mod keep_one;
mod language;
mod legacy;
mod library_messages;
#[cfg(unix)]
mod many_machines;
#[cfg(target_os = "linux")]
mod memory;
mod pages;
mod parts;
mod patterns;
mod predict;
#[cfg(unix)]
mod proteins;
mod prune;
mod registry;
#[cfg(unix)]
mod relations;
mod runs;
mod said;
mod schedule;
mod screen;
mod shells;
mod snapshots;
mod survey;
mod survives;
mod treebanks;
mod verify;
mod view;
mod vocabulary;
mod words;
