//! The kinds of images that are measured; `corpus.py` makes the files.

use std::path::Path;

/// A kind of image.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
}

impl Kind {
    /// The file's name without its extension.
    pub(crate) fn stem(&self) -> &'static str {
        self.parts().0
    }

    /// `jpg` or `png`.
    pub(crate) fn extension(&self) -> &'static str {
        self.parts().1
    }

    fn parts(&self) -> (&'static str, &'static str) {
        self.file.rsplit_once('.').expect("files of the corpus have an extension")
    }
}

/// `jpg` or `png`.
pub(crate) fn extension(path: &Path) -> &str {
    path.extension()
        .and_then(|extension| extension.to_str())
        .expect("files of the corpus have an extension")
}

/// All of them, in the order of the report.
pub(crate) const KINDS: [Kind; 18] = [
    Kind { name: "phone 12 MP", file: "phone-12mp.jpg" },
    Kind { name: "phone 16 MP", file: "phone-16mp.jpg" },
    Kind { name: "DSLR 18 MP 4:2:2", file: "dslr-18mp-422.jpg" },
    Kind { name: "restart", file: "restart.jpg" },
    Kind { name: "DSLR 12 MP 4:4:4 restart", file: "dslr-12mp-444-restart.jpg" },
    Kind { name: "progressive", file: "progressive.jpg" },
    Kind { name: "grey", file: "grey.jpg" },
    Kind { name: "2 MP", file: "2mp.jpg" },
    Kind { name: "portrait 3 MP", file: "portrait-3mp.jpg" },
    Kind { name: "CMYK", file: "cmyk.jpg" },
    Kind { name: "progressive CMYK", file: "progressive-cmyk.jpg" },
    Kind { name: "PNG RGB", file: "libpng.png" },
    Kind { name: "PNG RGB by libvips", file: "rgb.png" },
    Kind { name: "the same without filters", file: "unfiltered.png" },
    Kind { name: "PNG RGBA", file: "rgba.png" },
    Kind { name: "PNG palette", file: "palette.png" },
    Kind { name: "PNG 16-bit", file: "sixteen.png" },
    Kind { name: "PNG interlaced", file: "interlaced.png" },
];
