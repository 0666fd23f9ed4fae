//! Thumbnails beside those of libvips, sharp and the `image` crate: CPU time, memory, bytes and
//! quality.
//!
//! `imaging/benches/run PHOTOS_DIRECTORY` prepares what this needs, and runs it. Everybody starts
//! from a file in memory and ends with files in memory, on one thread. The rounds of the contenders
//! take turns, so that a machine that slows down for a while slows down everybody.

mod corpus;
mod measure;
mod memory;
mod peer;
mod reference;
mod report;

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use serde_json::json;

use corpus::Kind;
use peer::{Peer, Quality, Work};
use reference::References;
use report::{Case, Figures};

const HEIGHTS: [&[u32]; 3] = [&[200], &[400], &[200, 400]];

/// The `image` crate is slow and steady: it works in one round of so many.
const ROUNDS_PER_IMAGE_ROUND: usize = 3;

#[derive(Parser)]
struct Arguments {
    /// The folder of the files that `corpus.py` made.
    #[arg(required_unless_present = "peak")]
    corpus: Option<PathBuf>,
    /// The folder of the Python and node packages; takes the results.
    #[arg(long, required_unless_present = "peak")]
    tools: Option<PathBuf>,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Measures only kinds whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Prints how many KiB of memory one thumbnailing needs.
    #[arg(long, num_args = 2, value_names = ["PATH", "HEIGHTS"])]
    peak: Option<Vec<String>>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    if let Some([path, heights]) = arguments.peak.as_deref() {
        println!("{}", memory::of_this_process(Path::new(path), &measure::parse_heights(heights)));
        return;
    }
    let corpus = arguments.corpus.expect("clap requires the corpus");
    let tools = arguments.tools.expect("clap requires the tools");
    let mut bench = Bench::start(tools, usize::from(arguments.rounds));
    let kinds = corpus::KINDS.iter().filter(|kind| kind.name.contains(&arguments.only));
    let cases: Vec<Case> = kinds.flat_map(|kind| bench.kind(kind, &corpus)).collect();
    let machine = format!(
        "{}; {}; {} rounds",
        report::processor(),
        bench.versions().join(", "),
        arguments.rounds
    );
    let results = json!({ "machine": machine, "cases": cases });
    let results = serde_json::to_string_pretty(&results).expect("results are JSON");
    fs::write(bench.tools.join("results.json"), results).expect("the results are written");
    print!("{}", report::table(&cases, &machine));
}

/// Everybody who takes part.
struct Bench {
    tools: PathBuf,
    thumbnails: PathBuf,
    rounds: usize,
    libvips: Peer,
    sharp: Peer,
    quality: Quality,
}

impl Bench {
    fn start(tools: PathBuf, rounds: usize) -> Self {
        let thumbnails = tools.join("thumbnails");
        fs::create_dir_all(&thumbnails).expect("a folder for thumbnails");
        let (libvips, sharp) = (Peer::libvips(&tools), Peer::sharp(&tools));
        let quality = Quality::start(&tools);
        Self { tools, thumbnails, rounds, libvips, sharp, quality }
    }

    fn versions(&self) -> [&str; 2] {
        [self.libvips.version(), self.sharp.version()]
    }

    fn kind(&mut self, kind: &Kind, corpus: &Path) -> Vec<Case> {
        let path = corpus.join(kind.file);
        let data = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut references = References::of(&data, self.thumbnails.join(kind.stem()));
        let cases = HEIGHTS.map(|heights| self.case(kind, &path, &data, heights, &mut references));
        references.remove();
        cases.into()
    }

    fn case(
        &mut self,
        kind: &Kind,
        path: &Path,
        data: &[u8],
        heights: &[u32],
        references: &mut References,
    ) -> Case {
        eprintln!("{}, {heights:?}", kind.name);
        let prefix =
            |who| self.thumbnails.join(format!("{}-{}-{who}", kind.stem(), measure::list(heights)));
        let work = |who| Work { path, heights, prefix: prefix(who), extension: kind.extension() };
        let (ours_work, libvips_work, sharp_work) = (work("ours"), work("libvips"), work("sharp"));
        let (mut ours, mut libvips, mut sharp) = (Vec::new(), Vec::new(), Vec::new());
        let mut image = Vec::new();
        // the first round warms up
        for round in 0..=self.rounds {
            let mine = measure::ours(data, &ours_work);
            let theirs = (self.libvips.work(&libvips_work), self.sharp.work(&sharp_work));
            if round > 0 {
                ours.push(mine);
                libvips.push(theirs.0);
                sharp.push(theirs.1);
            }
            if let (&[height], 1) = (heights, round % ROUNDS_PER_IMAGE_ROUND) {
                image.push(measure::image_alone(data, height));
            }
        }
        let mut psnr_db = f64::INFINITY;
        for picture in measure::pictures(data, heights) {
            let file =
                self.thumbnails.join(format!("{}-{}-pixels.png", kind.stem(), picture.height()));
            picture.save(&file).expect("the picture is written");
            psnr_db = psnr_db.min(references.compare(&mut self.quality, &file, true).psnr_db);
        }
        let mut figures = |answers, peak_kib, work: &Work<'_>, converts_colours| {
            let dssim = work
                .files()
                .map(|file| references.compare(&mut self.quality, &file, converts_colours).dssim)
                .collect();
            Figures::of(answers, peak_kib, dssim)
        };
        Case {
            kind: kind.name,
            heights: heights.to_vec(),
            image_cpu_ms: (!image.is_empty()).then(|| report::median(&image)),
            ours: figures(&ours, memory::of_ours(path, heights), &ours_work, true),
            libvips: figures(&libvips, self.libvips.peak_kib(path, heights), &libvips_work, false),
            sharp: figures(&sharp, self.sharp.peak_kib(path, heights), &sharp_work, true),
            psnr_db,
        }
    }
}
