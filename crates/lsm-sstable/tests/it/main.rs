//! Tables as their users meet them: written to a simulated disk, read back in every mode.

mod damage;
mod format;
mod hostile;
mod model;
mod support;
mod table;
