//! What an image may be.

/// Limits that hold before any pixel is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Width times height.
    pub max_pixels: u64,
    /// The longer side, in px.
    pub max_side_px: u32,
    /// Scans of a JPEG; each pass over a progressive image costs time.
    pub max_scans: u32,
    /// The largest block of metadata that is read, in bytes; larger ones are skipped.
    pub max_metadata_bytes: u64,
}

impl Default for Limits {
    /// 50 megapixels, 16,384 px a side, 64 scans, 4 MiB of metadata.
    fn default() -> Self {
        Self {
            max_pixels: 50_000_000,
            max_side_px: 16_384,
            max_scans: 64,
            max_metadata_bytes: 4 << 20,
        }
    }
}
