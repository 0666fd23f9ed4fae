//! The crate through its public interface, on pictures that are made in memory.

mod fixtures;
mod hostile;
mod inspecting;
mod reference;
mod scaled;
mod seeds;
mod thumbnailing;
