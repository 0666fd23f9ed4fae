//! One job in a file. Each may run twice, or be killed at any point, and the next run sets things right.

pub(crate) mod clean_up;
pub(crate) mod delete_objects;
pub(crate) mod generate_thumbnail;
pub(crate) mod orphans;
