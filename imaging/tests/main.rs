//! The crate through its public interface, on pictures that are made in memory.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the sides and samples of pictures are small numbers"
)]

mod compare;
mod fixtures;
mod hostile;
mod inspecting;
mod kinds;
mod png_faults;
mod reference;
mod scaled;
mod seeds;
mod streams;
mod thumbnailing;
