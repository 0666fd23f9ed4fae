//! What runs in this process: this crate, and the `image` crate alone. The clock is that of the
//! thread.

use std::{fs, io::Cursor, time::Duration};

use image::{DynamicImage, ImageFormat, codecs::jpeg::JpegEncoder, imageops::FilterType};
use imaging::{Deadline, Limits, Options};
use rustix::time::{ClockId, clock_gettime};

use crate::peer::{Answer, Work};

/// As libvips and sharp are told; ours is the default.
const JPEG_QUALITY: u8 = 82;

/// One thumbnailing by this crate, of a file in memory.
pub(crate) fn ours(data: &[u8], work: &Work<'_>) -> Answer {
    let (made, cpu_ms) = timed(|| thumbnails(data, work.heights));
    for (file, thumbnail) in work.files().zip(&made) {
        fs::write(file, thumbnail).expect("the thumbnail is written");
    }
    Answer { cpu_ms, bytes: made.iter().map(Vec::len).collect() }
}

/// Large enough for every photo.
fn limits() -> Limits {
    Limits { max_pixels: 300_000_000, max_side_px: 65_535, ..Limits::default() }
}

fn options() -> Options {
    Options { jpeg_quality: JPEG_QUALITY, ..Options::default() }
}

/// The files that this crate makes, and a placeholder, which nobody else makes.
pub(crate) fn thumbnails(data: &[u8], heights: &[u32]) -> Vec<Vec<u8>> {
    let made = imaging::thumbnails(data, heights, &options(), &limits(), &Deadline::none());
    made.expect("a thumbnail of ours")
        .thumbnails
        .into_iter()
        .map(|thumbnail| thumbnail.bytes)
        .collect()
}

/// The same before they are encoded.
pub(crate) fn pictures(data: &[u8], heights: &[u32]) -> Vec<DynamicImage> {
    let made = imaging::pictures(data, heights, &options(), &limits(), &Deadline::none());
    made.expect("a picture of ours")
}

/// CPU milliseconds of the `image` crate alone.
pub(crate) fn image_alone(data: &[u8], height: u32) -> f64 {
    let (file, cpu_ms) = timed(|| {
        let format = image::guess_format(data).expect("a known format");
        let picture = image::load_from_memory_with_format(data, format).expect("a picture");
        let (width, height) = imaging::thumbnail_size(
            picture.width(),
            picture.height(),
            height,
            Options::default().max_width_px,
        );
        let picture = picture.resize_exact(width, height, FilterType::Lanczos3);
        let mut file = Vec::new();
        let written = match format {
            ImageFormat::Jpeg => {
                picture.write_with_encoder(JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY))
            }
            _ => picture.write_to(&mut Cursor::new(&mut file), format),
        };
        written.expect("a thumbnail by the image crate");
        file
    });
    assert!(!file.is_empty());
    cpu_ms
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let started = thread_ms();
    let made = work();
    (made, thread_ms() - started)
}

fn thread_ms() -> f64 {
    let time = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime))
        .expect("CPU time is not negative");
    time.as_secs_f64() * 1e3
}

/// As heights are written for the peers: with commas.
pub(crate) fn list(heights: &[u32]) -> String {
    heights.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// The heights of a [`list`].
pub(crate) fn parse_heights(list: &str) -> Vec<u32> {
    list.split(',').map(|height| height.parse().expect("heights are numbers")).collect()
}
