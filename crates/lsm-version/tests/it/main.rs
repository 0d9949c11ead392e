//! Versions as their users meet them: changed by edits, searched by key, drawn as pictures.

mod blobs;
mod model;
mod pictures;
mod refusals;
mod support;
