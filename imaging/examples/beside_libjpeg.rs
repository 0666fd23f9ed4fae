//! What `tests/compare-with-libjpeg` needs besides libjpeg-turbo's programs:
//!
//! - `beside_libjpeg picture WIDTH HEIGHT` writes a picture of waves, edges and noise, as PPM.
//! - `beside_libjpeg cmyk PICTURE.ppm` writes a JPEG of its four inks.
//! - `beside_libjpeg without-adobe FILE.jpg` leaves Adobe's segment out.
//! - `beside_libjpeg component FILE.jpg INDEX` writes one component of a file with a scan for each
//!   as a grey JPEG.
//! - `beside_libjpeg flip FILE.jpg SEED` writes the file with some bits of its scans flipped.
//! - `beside_libjpeg differences FILE.jpg DECODED.ppm` prints, for 200 and 400 px, the height and
//!   the mean absolute difference between our thumbnail, before it is encoded, and the decoded
//!   picture resized with Lanczos3.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "sides have 16 bits, samples 8"
)]

use std::{
    env,
    f32::consts::PI,
    fs,
    io::{self, Write},
};

use imaging::{Deadline, Limits, Options, thumbnail_size};
use jpeg_encoder::{ColorType, Encoder};

type Failure = Box<dyn std::error::Error>;

const HEIGHTS: [u32; 2] = [200, 400];
const FLIPPED_BITS: usize = 30;
const USAGE: &str = "usage: beside_libjpeg picture|cmyk|without-adobe|component|flip|differences ...: see its source";

struct Ppm {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = match *arguments {
        ["picture", width, height] => picture(width.parse()?, height.parse()?),
        ["cmyk", path] => cmyk(&ppm(&fs::read(path)?)?)?,
        ["without-adobe", path] => without_adobe(&fs::read(path)?)?,
        ["component", path, index] => component(&fs::read(path)?, index.parse()?)?,
        ["flip", path, seed] => flip(fs::read(path)?, seed.parse()?)?,
        ["differences", path, decoded] => {
            differences(&fs::read(path)?, &ppm(&fs::read(decoded)?)?)?
        }
        _ => return Err(USAGE.into()),
    };
    Ok(io::stdout().lock().write_all(&output)?)
}

fn picture(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = format!("P6\n{width} {height}\n255\n").into_bytes();
    let mut noise = 1_u32;
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3_u32 {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let wave = (x * (channel + 2) / 7 + y * 5 / (channel + 3)) % 160;
                let edge = if (x / 60 + y / 45) % 3 == channel { 60 } else { 0 };
                bytes.push(u8::try_from(wave + edge + (noise >> 28)).unwrap_or(u8::MAX));
            }
        }
    }
    bytes
}

fn ppm(bytes: &[u8]) -> Result<Ppm, Failure> {
    let (mut at, mut numbers) = (2, Vec::new());
    for _ in 0..3 {
        at += 1;
        let length = bytes[at..].iter().position(u8::is_ascii_whitespace).ok_or("no PPM")?;
        numbers.push(str::from_utf8(&bytes[at..at + length])?.parse::<u32>()?);
        at += length;
    }
    let rgb = match bytes.get(..2) {
        Some(b"P6") => bytes[at + 1..].to_vec(),
        Some(b"P5") => bytes[at + 1..].iter().flat_map(|&grey| [grey; 3]).collect(),
        _ => return Err("no PPM".into()),
    };
    Ok(Ppm { width: numbers[0], height: numbers[1], rgb })
}

fn cmyk(picture: &Ppm) -> Result<Vec<u8>, Failure> {
    let (pixels, _) = picture.rgb.as_chunks::<3>();
    let inks: Vec<u8> = pixels
        .iter()
        .flat_map(|pixel| {
            let inks = pixel.map(|sample| 255 - sample);
            let black = inks.into_iter().min().unwrap_or_default() / 2;
            let [cyan, magenta, yellow] = inks.map(|ink| ink - black);
            [cyan, magenta, yellow, black]
        })
        .collect();
    let mut file = Vec::new();
    let encoder = Encoder::new(&mut file, 90);
    encoder.encode(
        &inks,
        picture.width.try_into()?,
        picture.height.try_into()?,
        ColorType::Cmyk,
    )?;
    Ok(file)
}

fn without_adobe(file: &[u8]) -> Result<Vec<u8>, Failure> {
    let is_adobe = |window: &[u8]| window[..2] == [0xFF, 0xEE] && &window[4..] == b"Adobe";
    let at = file.windows(9).position(is_adobe).ok_or("no segment of Adobe's")?;
    let end = at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
    Ok([&file[..at], &file[end..]].concat())
}

/// A grey picture is coded as a scan of one component is, so the coded data stay as they are.
fn component(file: &[u8], index: usize) -> Result<Vec<u8>, Failure> {
    let mut grey = file[..2].to_vec();
    let (mut at, mut id) = (2, None);
    while let Some(&[0xFF, marker, high, low]) = file.get(at..at + 4) {
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        let segment = &file[at..end];
        at = end;
        match marker {
            0xC0 | 0xC1 => {
                let entries = &segment[10..];
                let entry = entries.chunks_exact(3).nth(index).ok_or("no such component")?;
                let factors =
                    |shift: u8| entries.chunks_exact(3).map(move |entry| entry[1] >> shift & 0xF);
                let side = |at: usize, shift: u8| {
                    let px = u32::from(u16::from_be_bytes([segment[at], segment[at + 1]]));
                    let max = factors(shift).max().unwrap_or(1);
                    u16::try_from(
                        (px * u32::from(entry[1] >> shift & 0xF)).div_ceil(u32::from(max)),
                    )
                };
                id = Some(entry[0]);
                grey.extend([0xFF, marker, 0, 11, 8]);
                grey.extend(side(5, 0)?.to_be_bytes());
                grey.extend(side(7, 4)?.to_be_bytes());
                grey.extend([1, entry[0], 0x11, entry[2]]);
            }
            0xDA => {
                let is_marker =
                    |pair: &[u8]| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xD0..=0xD7);
                let length = file[at..].windows(2).position(is_marker).ok_or("no end of a scan")?;
                if segment[4] == 1 && Some(segment[5]) == id {
                    grey.extend(segment);
                    grey.extend(&file[at..at + length]);
                    grey.extend([0xFF, 0xD9]);
                    return Ok(grey);
                }
                at += length;
            }
            _ => grey.extend(segment),
        }
    }
    Err("no scan of this component alone".into())
}

fn flip(mut file: Vec<u8>, seed: u32) -> Result<Vec<u8>, Failure> {
    let scan = file.windows(2).position(|pair| pair == [0xFF, 0xDA]).ok_or("no scan")?;
    // behind the scan's header, and before the end of the image
    let data = scan + 14..file.len() - 2;
    let mut noise = seed.wrapping_mul(2_654_435_761) | 1;
    for _ in 0..FLIPPED_BITS {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        let bit = noise as usize % (data.len() * 8);
        file[data.start + bit / 8] ^= 1 << (bit % 8);
    }
    Ok(file)
}

/// Two passes in floating point.
fn lanczos(picture: &Ppm, width: u32, height: u32) -> Vec<u8> {
    let (source_width, source_height) = (picture.width as usize, picture.height as usize);
    let columns = weights(source_width, width as usize);
    let mut rows = Vec::with_capacity(source_height * width as usize * 3);
    for row in picture.rgb.chunks_exact(source_width * 3) {
        for (first, weights) in &columns {
            for channel in 0..3 {
                let samples = row[first * 3 + channel..].iter().step_by(3);
                rows.push(
                    samples
                        .zip(weights)
                        .map(|(&sample, weight)| f32::from(sample) * weight)
                        .sum::<f32>(),
                );
            }
        }
    }
    let stride = width as usize * 3;
    let mut resized = Vec::with_capacity(stride * height as usize);
    for (first, weights) in weights(source_height, height as usize) {
        for at in 0..stride {
            let samples = rows[first * stride + at..].iter().step_by(stride);
            let sum = samples.zip(&weights).map(|(sample, weight)| sample * weight).sum::<f32>();
            resized.push(sum.round().clamp(0.0, 255.0) as u8);
        }
    }
    resized
}

/// For each sample of the smaller side, the first of the larger one that counts, and the weights
/// from there on.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let sinc = |x: f32| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
    let ratio = from as f32 / to as f32;
    let weights = |at: usize| {
        let centre = (at as f32 + 0.5) * ratio;
        let first = (centre - 3.0 * ratio).floor().max(0.0) as usize;
        let end = ((centre + 3.0 * ratio).ceil() as usize).min(from);
        let distance = |sample: usize| (sample as f32 + 0.5 - centre) / ratio;
        let weight = |x: f32| if x.abs() < 3.0 { sinc(x) * sinc(x / 3.0) } else { 0.0 };
        let weights: Vec<f32> = (first..end).map(|sample| weight(distance(sample))).collect();
        let sum: f32 = weights.iter().sum();
        (first, weights.into_iter().map(|weight| weight / sum).collect())
    };
    (0..to).map(weights).collect()
}

fn differences(file: &[u8], decoded: &Ppm) -> Result<Vec<u8>, Failure> {
    let mut lines = Vec::new();
    let limits = Limits { max_pixels: 300_000_000, max_side_px: 65_535, ..Limits::default() };
    for height in HEIGHTS.into_iter().filter(|&height| height <= decoded.height) {
        let made =
            imaging::pictures(file, &[height], &Options::default(), &limits, &Deadline::none())?;
        let made = made.first().ok_or("no picture")?.to_rgb8();
        let (width, height) = thumbnail_size(decoded.width, decoded.height, height, u32::MAX);
        let expected = lanczos(decoded, width, height);
        if made.dimensions() != (width, height) {
            return Err("a thumbnail has another size than the picture's".into());
        }
        let differences = made.iter().zip(&expected).map(|(a, b)| u64::from(a.abs_diff(*b)));
        let hundredths = differences.sum::<u64>() * 100 / made.len() as u64;
        writeln!(lines, "{height} {hundredths}")?;
    }
    Ok(lines)
}
