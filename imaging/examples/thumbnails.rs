//! Writes thumbnails, before they are encoded (`.png`) and as files: `thumbnails DIRECTORY
//! HEIGHT[,HEIGHT] FILE ...`.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use imaging::{Deadline, Limits, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let usage = "usage: thumbnails DIRECTORY HEIGHT[,HEIGHT] FILE ...";
    let directory = PathBuf::from(arguments.next().ok_or(usage)?);
    let heights = arguments.next().ok_or(usage)?;
    let heights = heights.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let (options, deadline) = (Options::default(), Deadline::none());
    let limits = Limits { max_pixels: 300_000_000, max_side_px: 65_535, ..Limits::default() };
    for path in arguments {
        let file = fs::read(&path)?;
        let stem = Path::new(&path).file_stem().ok_or(usage)?.to_string_lossy();
        // one by one, as a second height would get the larger decode of the first
        for &height in &heights {
            let made = imaging::thumbnails(&file, &[height], &options, &limits, &deadline)?;
            for thumbnail in made.thumbnails {
                let extension =
                    if thumbnail.format == imaging::Format::Png { "made.png" } else { "jpg" };
                fs::write(directory.join(format!("{stem}-{height}.{extension}")), thumbnail.bytes)?;
            }
            for picture in imaging::pictures(&file, &[height], &options, &limits, &deadline)? {
                picture.save(directory.join(format!("{stem}-{height}.png")))?;
            }
        }
    }
    Ok(())
}
