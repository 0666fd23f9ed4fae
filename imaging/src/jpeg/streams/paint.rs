//! From records to samples: the means' differences are summed up, and blocks transformed.

use super::{
    super::{
        header::{Frame, Scan, Tables},
        plane::Plane,
        scan::Geometry,
        transform::{
            Coefficients, sample_1, samples_2_by_1, samples_2_by_2, samples_of_six,
            samples_of_slopes,
        },
    },
    layout::{Kept, Layout},
};

/// A component in the units of a scan.
pub(super) struct Painter<'a> {
    pub(super) plane: &'a mut Plane,
    pub(super) quantization: Coefficients,
    pub(super) kept: Kept,
    /// Where in a unit's numbers those of its first block are, and how many a unit has.
    pub(super) offset: usize,
    pub(super) unit_len: usize,
    /// Blocks of a unit.
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    /// The last DC value (T.81 section F.2.1.3.1).
    pub(super) prediction: i32,
}

impl Painter<'_> {
    /// Some units of a row, of which the first has this place.
    pub(super) fn paint(&mut self, units: &[i16], x: usize, y: usize) {
        let quantization = self.quantization;
        match self.kept {
            Kept::Mean => {
                self.paint_blocks(units, x, y, |dc, _: &[i16; 1]| {
                    [[sample_1(dc, quantization[0])]]
                });
            }
            Kept::Pair => self.paint_blocks(units, x, y, |dc, record: &[i16; 2]| {
                samples_2_by_1(dc, record[1].into(), &quantization)
            }),
            Kept::Slopes => self.paint_blocks(units, x, y, |dc, record: &[i16; 3]| {
                samples_of_slopes(dc, [record[1].into(), record[2].into()], &quantization)
            }),
            Kept::Four => self.paint_blocks(units, x, y, |dc, record: &[i16; 4]| {
                let mut block = [0; 64];
                (block[0], block[1], block[2], block[4]) =
                    (dc, record[1].into(), record[2].into(), record[3].into());
                samples_2_by_2(&block, &quantization)
            }),
            Kept::Six => self.paint_blocks(units, x, y, |dc, record: &[i16; 8]| {
                let mut block = [0; 64];
                block[0] = dc;
                for (coefficient, &value) in block[1..6].iter_mut().zip(&record[1..6]) {
                    *coefficient = value.into();
                }
                samples_of_six(&block, &quantization)
            }),
        }
    }

    #[inline]
    fn paint_blocks<const W: usize, const H: usize, const LEN: usize>(
        &mut self,
        units: &[i16],
        x: usize,
        y: usize,
        samples: impl Fn(i32, &[i16; LEN]) -> [[u8; W]; H],
    ) {
        let (horizontal, vertical) = (self.horizontal, self.vertical);
        let mut start = y * vertical * H * self.plane.stride + x * horizontal * W;
        for unit in units.chunks_exact(self.unit_len) {
            let (blocks, _) = unit[self.offset..].as_chunks::<LEN>();
            let mut row = start;
            for blocks in blocks.chunks_exact(horizontal).take(vertical) {
                for (x, block) in blocks.iter().enumerate() {
                    self.prediction = self.prediction.wrapping_add(block[0].into());
                    self.plane.put(row + x * W, &samples(self.prediction, block));
                }
                row += H * self.plane.stride;
            }
            start += horizontal * W;
        }
    }
}

/// Those of a scan, in its order; nothing if it has no such table or plane.
pub(super) fn painters<'a>(
    frame: &Frame,
    scan: &Scan,
    tables: &Tables,
    geometry: &Geometry,
    (layout, planes): (&Layout, &'a mut [Plane]),
) -> Option<Vec<Painter<'a>>> {
    let mut planes: Vec<_> = planes.iter_mut().map(Some).collect();
    let (mut painters, mut phase) = (Vec::new(), 0);
    for (component, blocks) in scan.components.iter().zip(&geometry.components) {
        let quantization = tables.quantization(frame.components[component.index].quantization);
        painters.push(Painter {
            plane: planes[component.index].take()?,
            quantization: quantization.ok()?,
            kept: layout.phases[phase].kept,
            offset: layout.phases[phase].offset,
            unit_len: layout.unit_len,
            horizontal: blocks.horizontal,
            vertical: blocks.vertical,
            prediction: 0,
        });
        phase += blocks.horizontal * blocks.vertical;
    }
    Some(painters)
}

/// Paints rows of units, whichever parts they are in.
pub(super) fn paint<'a>(
    mut painters: Vec<Painter<'_>>,
    mut parts: impl Iterator<Item = &'a [i16]>,
    layout: &Layout,
    geometry: &Geometry,
    restart_interval: usize,
) {
    let wanted = geometry.units_wide * layout.unit_len;
    let (mut part, mut joined): (&[i16], Vec<i16>) = (&[], Vec::new());
    let mut until_restart = restart_interval;
    for y in 0..geometry.units_high {
        let row = if let Some((row, rest)) = part.split_at_checked(wanted) {
            part = rest;
            row
        } else {
            joined.clear();
            joined.extend_from_slice(part);
            while joined.len() < wanted {
                let Some(next) = parts.next() else { return };
                let (some, rest) = next.split_at(next.len().min(wanted - joined.len()));
                joined.extend_from_slice(some);
                part = rest;
            }
            &joined
        };
        let mut x = 0;
        while x < geometry.units_wide {
            let left = geometry.units_wide - x;
            let count = if restart_interval > 0 { left.min(until_restart) } else { left };
            let units = &row[x * layout.unit_len..(x + count) * layout.unit_len];
            for painter in &mut painters {
                painter.paint(units, x, y);
            }
            x += count;
            if restart_interval > 0 {
                until_restart -= count;
                if until_restart == 0 {
                    until_restart = restart_interval;
                    for painter in &mut painters {
                        painter.prediction = 0;
                    }
                }
            }
        }
    }
}
