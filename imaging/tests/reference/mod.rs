//! A JPEG decoder as ITU-T T.81 describes it, bit by bit and coefficient by coefficient, to hold
//! the fast one against. It takes sound files only.

mod entropy;

use std::{collections::HashMap, f64::consts::PI};

use imaging::jpeg::Scale;

use self::entropy::{Bits, Codes, Scan, dc_difference, read_band, refine_band};

/// A component of a picture.
#[derive(Default)]
pub(crate) struct Component {
    id: u8,
    pub(crate) horizontal: usize,
    pub(crate) vertical: usize,
    quantization_slot: usize,
    quantization: Vec<i32>,
    pub(crate) blocks_wide: usize,
    /// In zigzag order.
    pub(crate) blocks: Vec<[i32; 64]>,
    /// By coefficient, how many of its bits are still unknown, for those of which a progressive
    /// scan was read.
    unknown_bits: HashMap<usize, u8>,
}

/// The picture of a file.
#[derive(Default)]
pub(crate) struct Reference {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) components: Vec<Component>,
    is_progressive: bool,
}

impl Reference {
    pub(crate) fn of(file: &[u8]) -> Self {
        let mut picture = Self::default();
        let mut quantization: [Vec<i32>; 4] = Default::default();
        let mut codes: HashMap<u8, Codes> = HashMap::new();
        let mut interval = 0;
        let mut position = 2;
        loop {
            assert_eq!(file[position], 0xFF, "a marker follows each segment and scan");
            let marker = file[position + 1];
            if marker == 0xD9 {
                return picture;
            }
            let length = usize::from(file[position + 2]) << 8 | usize::from(file[position + 3]);
            let segment = &file[position + 4..position + 2 + length];
            position += 2 + length;
            match marker {
                0xDB => segment.chunks_exact(65).for_each(|table| {
                    quantization[usize::from(table[0])] =
                        table[1..].iter().copied().map(i32::from).collect();
                }),
                0xC0..=0xC2 => picture.read_frame(segment, marker == 0xC2),
                0xC4 => read_codes(segment, &mut codes),
                0xDD => interval = usize::from(segment[0]) << 8 | usize::from(segment[1]),
                0xDA => {
                    for component in &mut picture.components {
                        component
                            .quantization
                            .clone_from(&quantization[component.quantization_slot]);
                    }
                    let count = usize::from(segment[0]);
                    let components = segment[1..].chunks_exact(2).take(count).map(|entry| {
                        let index = picture
                            .components
                            .iter()
                            .position(|component| component.id == entry[0]);
                        let index = index.expect("a component of the frame");
                        (index, codes.get(&(entry[1] >> 4)), codes.get(&(0x10 | entry[1] & 0xF)))
                    });
                    let &[first, last, bits] =
                        segment[1 + count * 2..].first_chunk().expect("a selection");
                    let (first, last, high, low) =
                        (usize::from(first), usize::from(last), bits >> 4, bits & 0xF);
                    let scan = Scan { components: components.collect(), first, last, high, low };
                    let (segments, end) = entropy_coded_segments(file, position);
                    picture.read_scan(&scan, segments, interval);
                    position = end;
                }
                _ => {}
            }
        }
    }

    fn read_frame(&mut self, segment: &[u8], is_progressive: bool) {
        self.is_progressive = is_progressive;
        self.height = usize::from(segment[1]) << 8 | usize::from(segment[2]);
        self.width = usize::from(segment[3]) << 8 | usize::from(segment[4]);
        for entry in segment[6..].chunks_exact(3) {
            let (horizontal, vertical) = (usize::from(entry[1] >> 4), usize::from(entry[1] & 0xF));
            let quantization_slot = usize::from(entry[2]);
            let (horizontal, vertical) =
                if segment[5] == 1 { (1, 1) } else { (horizontal, vertical) };
            let id = entry[0];
            self.components.push(Component {
                id,
                horizontal,
                vertical,
                quantization_slot,
                ..Default::default()
            });
        }
        let (wide, high) = self.units();
        for component in &mut self.components {
            component.blocks_wide = wide * component.horizontal;
            component.blocks =
                vec![[0; 64]; wide * component.horizontal * high * component.vertical];
        }
    }

    /// The largest coefficient times its step, whatever its sign.
    pub(crate) fn largest_coefficient(&self) -> i32 {
        let of_component = |component: &Component| {
            let products =
                component.blocks.iter().flat_map(|block| block.iter().zip(&component.quantization));
            products.map(|(value, step)| value.saturating_mul(*step).saturating_abs()).max()
        };
        self.components.iter().filter_map(of_component).max().unwrap_or_default()
    }

    /// The largest sampling factors.
    pub(crate) fn factors(&self) -> (usize, usize) {
        let horizontal = self.components.iter().map(|component| component.horizontal).max();
        let vertical = self.components.iter().map(|component| component.vertical).max();
        (horizontal.expect("components"), vertical.expect("components"))
    }

    fn units(&self) -> (usize, usize) {
        let (horizontal, vertical) = self.factors();
        (self.width.div_ceil(8 * horizontal), self.height.div_ceil(8 * vertical))
    }

    fn read_scan(&mut self, scan: &Scan<'_>, segments: Vec<Vec<u8>>, interval: usize) {
        if self.is_progressive {
            self.check_progression(scan);
        }
        let blocks = self.blocks_of(scan);
        let interval = if interval == 0 { blocks.len() } else { interval };
        for (units, bytes) in blocks.chunks(interval).zip(segments) {
            let mut bits = Bits { bytes, position: 0 };
            let (mut predictions, mut run_of_ends) = ([0; 4], 0);
            for &(which, block) in units.iter().flatten() {
                let (index, dc, ac) = scan.components[which];
                let block = &mut self.components[index].blocks[block];
                if !self.is_progressive {
                    predictions[which] += dc_difference(&mut bits, dc);
                    block[0] = predictions[which];
                    read_band(&mut bits, block, ac, 1, 63, 0, &mut run_of_ends);
                    assert_eq!(
                        run_of_ends, 0,
                        "only a progressive image ends several blocks at once"
                    );
                } else if scan.first == 0 && scan.high == 0 {
                    predictions[which] += dc_difference(&mut bits, dc);
                    block[0] = predictions[which] << scan.low;
                } else if scan.first == 0 {
                    block[0] |= bits.bit() << scan.low;
                } else if scan.high == 0 {
                    read_band(
                        &mut bits,
                        block,
                        ac,
                        scan.first,
                        scan.last,
                        scan.low,
                        &mut run_of_ends,
                    );
                } else {
                    refine_band(&mut bits, block, ac, scan, &mut run_of_ends);
                }
            }
        }
    }

    /// A coefficient's first scan comes once, and each further one adds one bit (section
    /// G.1.1.1.2).
    fn check_progression(&mut self, scan: &Scan<'_>) {
        for &(index, ..) in &scan.components {
            for coefficient in scan.first..=scan.last {
                let known = self.components[index].unknown_bits.insert(coefficient, scan.low);
                assert_eq!(
                    known,
                    (scan.high > 0).then_some(scan.high),
                    "the scans follow each other"
                );
                assert!(scan.high == 0 || scan.low + 1 == scan.high, "a scan adds one bit");
            }
        }
    }

    /// For each unit of a scan, its blocks: the number of the component in the scan, and that of
    /// the block (section A.2).
    fn blocks_of(&self, scan: &Scan<'_>) -> Vec<Vec<(usize, usize)>> {
        let (max_horizontal, max_vertical) = self.factors();
        let mut units = Vec::new();
        if let [(index, ..)] = scan.components.as_slice() {
            let component = &self.components[*index];
            let wide = (self.width * component.horizontal).div_ceil(8 * max_horizontal);
            let high = (self.height * component.vertical).div_ceil(8 * max_vertical);
            for y in 0..high {
                units.extend((0..wide).map(|x| vec![(0, y * component.blocks_wide + x)]));
            }
            return units;
        }
        let (wide, high) = self.units();
        for unit in 0..wide * high {
            let mut blocks = Vec::new();
            for (which, (index, ..)) in scan.components.iter().enumerate() {
                let Component { horizontal, vertical, blocks_wide, .. } = self.components[*index];
                for y in unit / wide * vertical..(unit / wide + 1) * vertical {
                    let columns = unit % wide * horizontal..(unit % wide + 1) * horizontal;
                    blocks.extend(columns.map(|x| (which, y * blocks_wide + x)));
                }
            }
            units.push(blocks);
        }
        units
    }
}

/// Section C.2.
fn read_codes(mut segment: &[u8], tables: &mut HashMap<u8, Codes>) {
    while let Some((&slot, rest)) = segment.split_first() {
        let (counts, mut symbols) = rest.split_at(16);
        let (mut codes, mut code) = (Codes::new(), 0);
        for (length, &count) in (1..).zip(counts) {
            let (these, others) = symbols.split_at(usize::from(count));
            for &symbol in these {
                codes.insert((length, code), symbol);
                code += 1;
            }
            symbols = others;
            code <<= 1;
        }
        tables.insert(slot, codes);
        segment = symbols;
    }
}

/// The bytes between restart markers, unstuffed, and where the marker behind the scan is.
fn entropy_coded_segments(file: &[u8], mut position: usize) -> (Vec<Vec<u8>>, usize) {
    let mut segments = vec![Vec::new()];
    loop {
        match (file[position], file[position + 1]) {
            (0xFF, 0) => {
                segments.last_mut().expect("a segment").push(0xFF);
                position += 2;
            }
            (0xFF, 0xD0..=0xD7) => {
                segments.push(Vec::new());
                position += 2;
            }
            (0xFF, _) => return (segments, position),
            (byte, _) => {
                segments.last_mut().expect("a segment").push(byte);
                position += 1;
            }
        }
    }
}

impl Component {
    /// A block at a scale: the transform (section A.3.3) of the square or triangle of its lowest
    /// frequencies, not rounded.
    pub(crate) fn samples(&self, block: usize, scale: Scale) -> Vec<f64> {
        let side = scale.side();
        let basis = |frequency: usize, at: usize| {
            let scale = if frequency == 0 { 0.5_f64.sqrt() } else { 1.0 };
            scale * ((2 * at + 1) as f64 * frequency as f64 * PI / (2 * side) as f64).cos()
        };
        let mut samples = Vec::new();
        for (y, x) in (0..side * side).map(|at| (at / side, at % side)) {
            let mut sum = 0.0;
            for (v, u) in (0..side * side).map(|at| (at / side, at % side)) {
                if scale.is_of_triangle() && u + v >= side {
                    continue;
                }
                let at = zigzag(u, v);
                sum += f64::from(self.blocks[block][at] * self.quantization[at])
                    * basis(u, x)
                    * basis(v, y);
            }
            samples.push((sum / 4.0 + 128.0).clamp(0.0, 255.0));
        }
        samples
    }
}

/// The place of a coefficient in zigzag order (figure A.6).
fn zigzag(u: usize, v: usize) -> usize {
    let diagonal = u + v;
    let before = if diagonal < 8 {
        diagonal * (diagonal + 1) / 2
    } else {
        64 - (15 - diagonal) * (16 - diagonal) / 2
    };
    let first = diagonal.saturating_sub(7);
    // even diagonals go up, odd ones down
    before + if diagonal.is_multiple_of(2) { u - first } else { v - first }
}
