//! The figures, and the table of them.

use std::{fmt::Write, fs};

use serde::Serialize;

use crate::{measure, peer::Answer};

/// What was measured of one kind of image and some heights.
#[derive(Serialize)]
pub(crate) struct Case {
    pub(crate) kind: &'static str,
    pub(crate) heights: Vec<u32>,
    /// Of the `image` crate alone, where that was measured.
    pub(crate) image_cpu_ms: Option<f64>,
    pub(crate) ours: Figures,
    pub(crate) libvips: Figures,
    pub(crate) sharp: Figures,
    /// Of our worst picture before it is encoded.
    pub(crate) psnr_db: f64,
}

/// What was measured of one contender.
#[derive(Serialize)]
pub(crate) struct Figures {
    /// The median.
    cpu_ms: f64,
    cpu_ms_of_rounds: Vec<f64>,
    peak_kib: u32,
    /// For each height.
    bytes: Vec<usize>,
    /// For each height.
    dssim: Vec<f64>,
}

impl Figures {
    pub(crate) fn of(answers: &[Answer], peak_kib: u32, dssim: Vec<f64>) -> Self {
        let cpu_ms_of_rounds: Vec<f64> = answers.iter().map(|answer| answer.cpu_ms).collect();
        let bytes = answers.last().map(|answer| answer.bytes.clone()).unwrap_or_default();
        Self { cpu_ms: median(&cpu_ms_of_rounds), cpu_ms_of_rounds, peak_kib, bytes, dssim }
    }

    fn peak_mib(&self) -> String {
        format!("{:.1}", f64::from(self.peak_kib) / 1024.0)
    }

    fn all_bytes(&self) -> usize {
        self.bytes.iter().sum()
    }

    fn worst_dssim(&self) -> String {
        format!("{:.1}", self.dssim.iter().copied().fold(0.0, f64::max) * 1e4)
    }
}

/// The middle one, or the upper of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The processor's name.
pub(crate) fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown processor", |(_, model)| model).to_owned()
}

/// A Markdown table, and what its columns mean.
pub(crate) fn table(cases: &[Case], machine: &str) -> String {
    let mut table = String::from(
        "| Kind | Heights | imaging ms | libvips ms | sharp ms | `image` ms | libvips / imaging | sharp / imaging \
         | Peak MiB, imaging / libvips / sharp | Bytes, imaging / libvips | DSSIM × 10⁴, imaging / libvips / sharp \
         | PSNR dB |\n\
         |:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for case in cases {
        row(&mut table, case).expect("text can always grow");
    }
    write!(
        table,
        "\n{machine}. CPU time of one thread, from the file in memory to the thumbnails in memory, the median of the \
         rounds. Peak: memory above what the process holds with the file read. DSSIM: the thumbnail as a file against \
         a full-size decode that is resized with Lanczos3 in floating point; less is better. PSNR: ours before it is \
         encoded against the same. With two heights, bytes are of both files, DSSIM and PSNR of the worse one. imaging \
         and sharp convert embedded colour profiles to sRGB, and are held against what is converted; libvips leaves the \
         numbers as they are. imaging also makes a placeholder.\n"
    )
    .expect("text can always grow");
    table
}

fn row(table: &mut String, case: &Case) -> std::fmt::Result {
    let Case { kind, heights, image_cpu_ms, ours, libvips, sharp, psnr_db } = case;
    let image = image_cpu_ms.map_or("–".to_owned(), |time| format!("{time:.1}"));
    writeln!(
        table,
        "| {kind} | {} | {:.2} | {:.2} | {:.2} | {image} | {:.2} | {:.2} | {} / {} / {} | {} / {} | {} / {} / {} \
         | {psnr_db:.1} |",
        measure::list(heights).replace(',', " + "),
        ours.cpu_ms,
        libvips.cpu_ms,
        sharp.cpu_ms,
        libvips.cpu_ms / ours.cpu_ms,
        sharp.cpu_ms / ours.cpu_ms,
        ours.peak_mib(),
        libvips.peak_mib(),
        sharp.peak_mib(),
        ours.all_bytes(),
        libvips.all_bytes(),
        ours.worst_dssim(),
        libvips.worst_dssim(),
        sharp.worst_dssim(),
    )
}
