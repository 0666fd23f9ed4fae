//! How much memory a thumbnailing needs above the file, each time in a process that has done
//! nothing else.

use std::{env, fs, io::Cursor, path::Path, process::Command};

use image::{DynamicImage, ImageFormat};

use crate::{corpus, measure, peer};

/// Of this crate, in KiB.
pub(crate) fn of_ours(path: &Path, heights: &[u32]) -> u32 {
    let program = env::current_exe().expect("this program has a path");
    peer::run_peak(&mut Command::new(program), path, heights)
}

/// The same, in the process that this runs in.
pub(crate) fn of_this_process(path: &Path, heights: &[u32]) -> u32 {
    let data = fs::read(path).expect("the file is read");
    // what is set up once, at the first picture, is not counted; nor is it for the others
    measure::thumbnails(&tiny(corpus::extension(path)), &[8]);
    // the peak starts anew from what is held now
    fs::write("/proc/self/clear_refs", "5").expect("the kernel forgets the peak");
    let before = status_kib("VmRSS:");
    let made = measure::thumbnails(&data, heights);
    let peak = status_kib("VmHWM:");
    assert_eq!(made.len(), heights.len());
    peak.saturating_sub(before)
}

fn tiny(extension: &str) -> Vec<u8> {
    let mut file = Vec::new();
    let format = ImageFormat::from_extension(extension).expect("a known format");
    let picture = DynamicImage::new_rgb8(32, 24);
    picture.write_to(&mut Cursor::new(&mut file), format).expect("a tiny picture");
    file
}

fn status_kib(field: &str) -> u32 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line =
        status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux tells the memory");
    line.trim().trim_end_matches(" kB").parse().expect("memory is a number of KiB")
}
