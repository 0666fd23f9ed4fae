//! Sequential scans (T.81 annex F): blocks are decoded as far as the scale needs, and straight into the planes.

use super::{
    JpegError,
    bits::{Bits, Place, Window, WindowBytes},
    header::{Frame, Scan, Tables},
    huffman::{AcTable, DcTable},
    plane::Plane,
    scan::{Geometry, walk},
    transform::{Coefficients, last_of_corner, sample_1, samples_2, samples_4, samples_8},
};
use crate::Deadline;

/// What decoding a component needs.
struct Channel {
    dc: DcTable,
    ac: AcTable,
    quantization: Coefficients,
    side: usize,
    /// The last DC value (T.81 section F.2.1.3.1).
    prediction: i32,
    /// Scratch; only as much is reset as a block may have set.
    coefficients: Coefficients,
}

/// Decodes a scan into the planes of its components; gives the position behind it.
pub(super) fn decode_scan(
    file: &[u8],
    frame: &Frame,
    scan: &Scan,
    tables: &Tables,
    planes: &mut [Plane],
    sides: &[usize],
    deadline: &Deadline,
) -> Result<usize, JpegError> {
    let mut channels = Vec::new();
    for component in &scan.components {
        channels.push(Channel {
            dc: DcTable::new(tables.dc(component.dc)?)?,
            ac: AcTable::new(tables.ac(component.ac)?)?,
            quantization: tables.quantization(frame.components[component.index].quantization)?,
            side: sides[component.index],
            prediction: 0,
            coefficients: [0; 64],
        });
    }
    let geometry = Geometry::new(frame, scan);
    let mut window = Window::new(file, scan.start);
    walk(&geometry, tables.restart_interval, &mut window, deadline, |unit, mut place, bytes| {
        if unit.is_restart {
            channels.iter_mut().for_each(|channel| channel.prediction = 0);
        }
        for (channel, blocks) in channels.iter_mut().zip(&geometry.components) {
            let plane = &mut planes[blocks.index];
            for y in 0..blocks.vertical {
                let row = (unit.y * blocks.vertical + y) * channel.side * plane.stride;
                for x in 0..blocks.horizontal {
                    let at = row + (unit.x * blocks.horizontal + x) * channel.side;
                    place = channel.decode_block(place, bytes, plane, at);
                }
            }
        }
        place
    })
}

impl Channel {
    /// The block's samples go where the upper left one belongs. A function for each scale, called and not copied into
    /// the walk, keeps all that a block needs in registers.
    #[inline]
    fn decode_block(&mut self, place: Place, bytes: &WindowBytes, plane: &mut Plane, at: usize) -> Place {
        match self.side {
            1 => self.decode_mean(place, bytes, plane, at),
            2 => self.decode_2(place, bytes, plane, at),
            4 => self.decode_4(place, bytes, plane, at),
            _ => self.decode_8(place, bytes, plane, at),
        }
    }

    #[inline(never)]
    fn decode_mean(&mut self, place: Place, bytes: &WindowBytes, plane: &mut Plane, at: usize) -> Place {
        let bits = self.read_dc(place.bits(), bytes);
        if let Some(sample) = plane.samples.get_mut(at) {
            *sample = sample_1(self.prediction, self.quantization[0]);
        }
        self.ac.skip_block(bits, bytes, 1).place()
    }

    #[inline(never)]
    fn decode_2(&mut self, place: Place, bytes: &WindowBytes, plane: &mut Plane, at: usize) -> Place {
        let bits = self.read_corner::<2>(place.bits(), bytes);
        plane.put(at, &samples_2(&self.coefficients, &self.quantization));
        bits.place()
    }

    #[inline(never)]
    fn decode_4(&mut self, place: Place, bytes: &WindowBytes, plane: &mut Plane, at: usize) -> Place {
        let bits = self.read_corner::<4>(place.bits(), bytes);
        plane.put(at, &samples_4(&self.coefficients, &self.quantization));
        bits.place()
    }

    #[inline(never)]
    fn decode_8(&mut self, place: Place, bytes: &WindowBytes, plane: &mut Plane, at: usize) -> Place {
        let bits = self.read_corner::<8>(place.bits(), bytes);
        plane.put(at, &samples_8(&self.coefficients, &self.quantization));
        bits.place()
    }

    /// Leaves at least 28 bits (T.81 section F.2.2.1).
    #[inline]
    fn read_dc(&mut self, mut bits: Bits, bytes: &WindowBytes) -> Bits {
        bits.refill(bytes);
        let (bits, difference) = self.dc.read(bits, bytes);
        self.prediction = self.prediction.wrapping_add(difference);
        bits
    }

    /// Reads the coefficients that the scale needs, and passes over the others (T.81 section F.2.2.2).
    #[inline]
    fn read_corner<const SIDE: usize>(&mut self, bits: Bits, bytes: &WindowBytes) -> Bits {
        let last = const { last_of_corner(SIDE) };
        let mut bits = self.read_dc(bits, bytes);
        self.coefficients[..=last].fill(0);
        self.coefficients[0] = self.prediction;
        let mut index = 1;
        while index <= last {
            bits.refill(bytes);
            let (run, value);
            (bits, run, value) = self.ac.read(bits);
            index += run as usize;
            if index > last {
                // behind the corner, or the end of the block
                if run == 64 {
                    return bits;
                }
                if index > 63 {
                    bits.damage();
                    return bits;
                }
            } else {
                self.coefficients[index & 63] = value;
            }
            index += 1;
        }
        if index == 64 {
            return bits;
        }
        bits.refill(bytes);
        self.ac.skip_block(bits, bytes, index as u32)
    }
}
