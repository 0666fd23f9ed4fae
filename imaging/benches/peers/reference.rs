//! What a thumbnail should be: the full-size image, resized with Lanczos3 in floating point.

use std::{
    collections::HashMap,
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::{
    DynamicImage, ImageDecoder, ImageReader, Rgb32FImage, RgbImage, metadata::Orientation,
};

use crate::peer::{Quality, Verdict};

/// What transparent pictures lie on when they are compared; 0 to 1.
const GREY: f32 = 128.0 / 255.0;

/// The references of one image, in the sizes that turn up.
pub(crate) struct References {
    picture: DynamicImage,
    orientation: Orientation,
    prefix: PathBuf,
    /// The embedded colour profile, in a file.
    profile: Option<PathBuf>,
    sizes: HashMap<(u32, u32), PathBuf>,
}

impl References {
    /// Of a file; what they write begins with `prefix`.
    pub(crate) fn of(data: &[u8], prefix: PathBuf) -> Self {
        let mut reader =
            ImageReader::new(Cursor::new(data)).with_guessed_format().expect("a known format");
        reader.no_limits();
        let mut decoder = reader.into_decoder().expect("a header");
        let orientation = decoder.orientation().expect("an orientation");
        let profile = decoder.icc_profile().expect("metadata").map(|profile| {
            let file = prefix.with_extension("icc");
            fs::write(&file, profile).expect("the profile is written");
            file
        });
        let picture = on_grey(&DynamicImage::from_decoder(decoder).expect("a picture")).into();
        Self { picture, orientation, prefix, profile, sizes: HashMap::new() }
    }

    /// Where the one in this size as displayed is written.
    fn sized(&mut self, size: (u32, u32)) -> &Path {
        let Self { picture, orientation, prefix, sizes, .. } = self;
        sizes.entry(size).or_insert_with(|| {
            let resized = resize(picture, *orientation, size);
            let values = resized.iter().flat_map(|value| (value * 255.0).to_le_bytes());
            let file = PathBuf::from(format!("{}-{}x{}.f32", prefix.display(), size.0, size.1));
            fs::write(&file, values.collect::<Vec<u8>>()).expect("the reference is written");
            file
        })
    }

    /// How far a picture is from its reference. One whose maker converts colours is held against a
    /// reference whose colours are converted.
    pub(crate) fn compare(
        &mut self,
        quality: &mut Quality,
        picture: &Path,
        converts_colours: bool,
    ) -> Verdict {
        let size = image::image_dimensions(picture).expect("a picture");
        let profile = self.profile.clone().filter(|_| converts_colours);
        quality.of(picture, self.sized(size), size, profile.as_deref())
    }

    /// Deletes what they wrote.
    pub(crate) fn remove(self) {
        for file in self.sizes.into_values().chain(self.profile) {
            fs::remove_file(file).expect("the reference is deleted");
        }
    }
}

/// RGB from 0 to 1. What is transparent lets grey through, before anything is resized: that is the
/// same as resizing with premultiplied alpha.
fn on_grey(picture: &DynamicImage) -> Rgb32FImage {
    if !picture.color().has_alpha() {
        return picture.to_rgb32f();
    }
    let rgba = picture.to_rgba32f();
    Rgb32FImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [red, green, blue, alpha] = rgba[(x, y)].0;
        image::Rgb([red, green, blue].map(|value| value * alpha + GREY * (1.0 - alpha)))
    })
}

fn resize(
    picture: &DynamicImage,
    orientation: Orientation,
    (width, height): (u32, u32),
) -> Rgb32FImage {
    let mut corner = DynamicImage::from(RgbImage::new(2, 1));
    corner.apply_orientation(orientation);
    let (width, height) = if corner.width() == 2 { (width, height) } else { (height, width) };
    let mut resized = DynamicImage::new(width, height, picture.color());
    let lanczos = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    Resizer::new().resize(picture, &mut resized, &lanczos).expect("floating point can be resized");
    resized.apply_orientation(orientation);
    let mut resized = resized.into_rgb32f();
    // eight bits cannot overshoot either
    resized.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
    resized
}
